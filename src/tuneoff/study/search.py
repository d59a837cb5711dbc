"""The search for a learning rate: what was tried, what to try next, which rate is the best.

docs/tuning.md has the measurements that these rules are from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.records.run import TrainedRun
from tuneoff.study.rates import two_digits
from tuneoff.training.signs import NEAR_GUESSING, Signs

if TYPE_CHECKING:
    from tuneoff.records.run import RunResult
    from tuneoff.spec import TuningSpec

SPACING = math.sqrt(10)
"""Between neighbours of a grid: two of them are a factor of ten."""
HALF_STEP = math.sqrt(SPACING)
REFINEMENTS = 2
"""Trials half a step below and above the best of the grid: learning rates of a method work within about one step."""
MOST_EXTENSIONS = 4
"""Trials beyond the grid of an arm whose best rate is at its edge; of one that has learned nothing, two more."""
MOST_WITHOUT_LEARNING = MOST_EXTENSIONS + 2
SHORTEST = 100
SHARE = 4
"""A trial has a quarter of a run's steps, but at least a hundred where the run has as many."""
NEAR, FAR = (math.log(HALF_STEP) * 1.1, 0.25), (math.log(SPACING) * 1.1, 0.1)
"""How far apart the logarithms of two rates may be, and the share of each such neighbour in the score of a rate.
One that learned nothing counts as a near one: where between the two the edge is, nobody knows."""


@dataclass(frozen=True)
class Trial:
    """A learning rate that was tried; None stands for what a run of it that failed or diverged did not get to.

    Attributes:
        rate: the learning rate.
        score: mean of the study's objective on validation over the tuning seeds.
        accuracy: likewise of accuracy; None where labels are numbers.
        loss: mean validation loss, in nats.
        guess_loss: the loss of guessing by the shares of the classes, in nats.
        signs: of learning, of its first run, or of the first that did not end well; None where that failed.
    """

    rate: float
    score: float | None
    accuracy: float | None
    loss: float | None
    guess_loss: float | None
    signs: Signs | None

    @classmethod
    def of(cls, rate: float, results: Sequence[RunResult]) -> Trial:
        """What the results of all runs at a learning rate say of it."""
        ended: list[TrainedRun] = []
        for result in results:
            if not isinstance(result, TrainedRun):
                return cls(rate, None, None, None, None, Signs.of(result))
            ended.append(result)
        last = [result.selected for result in ended]
        known = [point.validation_accuracy for point in last if point.validation_accuracy is not None]
        accuracy = math.fsum(known) / len(known) if known else None
        score = math.fsum(point.score for point in last) / len(last)
        loss = math.fsum(point.validation_loss for point in last) / len(last)
        return cls(rate, score, accuracy, loss, ended[0].guess_loss, Signs.of(ended[0]))

    @property
    def learned(self) -> bool:
        """Whether its training loss has left that of guessing, or that of validation has in the end."""
        if self.loss is None or self.signs is None:
            return False
        at_last = self.loss / self.guess_loss if self.guess_loss else math.inf
        return min(self.signs.final_loss, at_last) <= NEAR_GUESSING

    @property
    def too_high(self) -> bool:
        """Whether it has learned nothing because its rate was too high."""
        return not self.learned and self.signs is not None and self.signs.unstable

    @property
    def penalty(self) -> float:
        """What is to be small: validation loss in units of guessing, at most 1, less the objective on validation.

        The loss tells rates apart that few validation examples call equally good; the objective keeps a rate from being
        passed over that is right, but too sure of itself.
        """
        if self.score is None or self.loss is None or not self.guess_loss:
            return 1.0
        return min(1.0, self.loss / self.guess_loss) - self.score


def trial_steps(steps: int) -> int:
    """Optimiser steps of a trial of a run that has so many; its learning rate rises and falls within them."""
    return min(steps, max(-(-steps // SHARE), SHORTEST))


def usual_trials(tuning: TuningSpec) -> int:
    """Learning rates that an arm tries whose best one is not at the edge of the first ones."""
    return tuning.trials + (REFINEMENTS if tuning.strategy == "grid" else 0)


def grid(centre: float, trials: int) -> list[float]:
    """Learning rates around one that is among them, each √10 times the one before, two digits."""
    first = -((trials - 1) // 2)
    return [centre if step == 0 else two_digits(centre * SPACING**step) for step in range(first, first + trials)]


def proposals(tuning: TuningSpec, start: float, done: Sequence[Trial]) -> list[float]:
    """The learning rates of a grid that an arm tries next, given all that it has tried; none where it has ended.

    Where the best rate is at an edge, the search goes on beyond it. Where no rate has learned anything it goes up,
    unless the lowest rate was too high already, or the highest failed for another reason. Once the best is inside, it
    is looked at half a step beside it.

    Args:
        tuning: the study's.
        start: the arm's starting rate.
        done: its trials.
    """
    if not done:
        return grid(start, tuning.trials)
    by_rate = sorted((trial for trial in done if _is_on_grid(trial.rate, start)), key=lambda trial: trial.rate)
    if len(by_rate) < len(done):
        return []
    lowest, highest = by_rate[0], by_rate[-1]
    beyond = len(done) - tuning.trials
    if not any(trial.learned for trial in done):
        down = lowest.too_high
        up = not down and not highest.too_high and highest.signs is not None
        further = _beyond(lowest, highest, up, down) if beyond < MOST_WITHOUT_LEARNING else []
        return further or _between(by_rate)
    chosen = best(done)
    assert chosen is not None
    up, down = chosen == highest.rate, chosen == lowest.rate
    if (up or down) and beyond < MOST_EXTENSIONS:
        return _beyond(lowest, highest, up, down)
    return [two_digits(chosen / HALF_STEP), two_digits(chosen * HALF_STEP)]


def _beyond(lowest: Trial, highest: Trial, up: bool, down: bool) -> list[float]:
    if up:
        return [two_digits(highest.rate * SPACING)]
    return [two_digits(lowest.rate / SPACING)] if down else []


def _between(by_rate: Sequence[Trial]) -> list[float]:
    """Half a step between the highest rate that does nothing and the lowest that is too high."""
    too_high = next((trial.rate for trial in by_rate if trial.too_high), None)
    return [] if too_high is None or too_high == by_rate[0].rate else [two_digits(too_high / HALF_STEP)]


def _is_on_grid(rate: float, start: float) -> bool:
    """Whether a rate is whole steps away from the starting rate, not half a step beside one that is."""
    steps = math.log(rate / start) / math.log(SPACING)
    return abs(steps - round(steps)) < 0.25


def best(done: Sequence[Trial]) -> float | None:
    """The learning rate with the lowest penalty, its neighbours' counted in; None where no trial ended.

    A neighbour that collapsed makes a rate risky: other seeds may fall over the same edge. A rate without a neighbour
    on one side counts for it. Of equal rates the lower one is taken.
    """
    found = scores(done)
    return min((trial.rate for trial in candidates(done)), key=lambda rate: (found[rate], rate), default=None)


def candidates(done: Sequence[Trial]) -> list[Trial]:
    """Those of which one can be the best: that learned, or else that were not too high, or else all that ended.

    One that learned nothing may still have the highest accuracy where validation is small and answers are constant.
    """
    ended = [trial for trial in done if trial.score is not None]
    learned = [trial for trial in ended if trial.learned]
    return learned or [trial for trial in ended if not trial.too_high] or ended


def too_high(done: Sequence[Trial]) -> set[float]:
    """Learning rates at which nothing was learned, and that are above one that did, or at which the loss rose."""
    lowest = min((trial.rate for trial in done if trial.learned), default=math.inf)
    return {trial.rate for trial in done if trial.too_high or (not trial.learned and trial.rate > lowest)}


def scores(done: Sequence[Trial]) -> dict[float, float]:
    """By rate, what `best` goes by: the penalty with its neighbours' counted in; without rates that did not end."""
    by_rate = sorted(done, key=lambda trial: trial.rate)
    return {trial.rate: _smoothed(by_rate, place) for place, trial in enumerate(by_rate) if trial.score is not None}


def is_at_edge(done: Sequence[Trial]) -> bool:
    """Whether the best of several rates is the lowest or the highest tried, so that one beyond may be better."""
    rates = [trial.rate for trial in done]
    return len(rates) > 1 and best(done) in (min(rates), max(rates))


def _smoothed(by_rate: Sequence[Trial], place: int) -> float:
    """The penalty of a rate, drawn to those of its neighbours by their shares."""
    own = by_rate[place]
    score = own.penalty
    for neighbour in (by_rate[max(0, place - 1)], by_rate[min(len(by_rate) - 1, place + 1)]):
        distance = abs(math.log(neighbour.rate / own.rate))
        share = next((share for within, share in (NEAR, FAR) if distance < within), 0.0)
        if share and not neighbour.learned:
            share = NEAR[1]
        score += share * (neighbour.penalty - own.penalty)
    return score
