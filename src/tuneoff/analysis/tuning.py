"""What tuning tried, chose and cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tuneoff.analysis.arm_costs import own_seconds
from tuneoff.core.texts import counted
from tuneoff.data.parts import part_names, part_words
from tuneoff.records.run import RunResult, TrainedRun
from tuneoff.records.tuning import ArmTuning, PassedOver, TrialSummary, TuningSummary
from tuneoff.study.search import Trial, best, candidates, is_at_edge, scores, too_high
from tuneoff.study.tuning import tuned_arms
from tuneoff.tasks.objectives.accuracy import Accuracy

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


TOLD_APART = 0.05
"""Standard error of an accuracy from which on rates are not told apart: rates of a method work within about a step of
the best one, and half a step costs a point or two, a whole one five and more (docs/decisions/017-learning-rates.md)."""
MANY_TIMES = 5
"""So many times as many rows as are enough for validation must be there to take them from training."""
EVEN = 0.5
"""The accuracy at which its standard error is the largest."""


def few_validation_examples(parts: Iterable[Mapping[str, int]]) -> str | None:
    """One sentence where so many validation examples are too few to choose finely between learning rates, or None.

    Args:
        parts: of the data: examples by split. The one with the fewest for validation counts.
    """
    sizes = min(parts, key=lambda part: part["validation"])
    count = sizes["validation"]
    error = math.sqrt(EVEN * (1 - EVEN) / count)
    if error <= TOLD_APART:
        return None
    enough = math.ceil(EVEN * (1 - EVEN) / TOLD_APART**2)
    spare = sizes["train"] + count >= MANY_TIMES * enough
    how = (
        f"set data.validation_size = {enough} (they are taken from training), or give more rows"
        if spare
        else ("give more rows")
    )
    return (
        f"{counted(count, 'validation example')} cannot choose finely between learning rates, since an accuracy on so "
        f"few has a standard error of up to {100 * error:.0f} points; for {enough} or more {how}"
    )


def summarise_tuning(results: StudyResults) -> TuningSummary | None:
    """Every trial of every arm on every part, the rates chosen, and what it cost; None if nothing was tuned yet."""
    names = tuned_arms(results.spec)
    if not names or not results.trials:
        return None
    arms = [_arm(results, name, part) for part in part_names(results.spec.data) for name in names]
    ended = [run for run in results.trials if isinstance(run, TrainedRun)]
    return TuningSummary(
        strategy=results.spec.tuning.strategy,
        seeds=results.spec.seeds[: results.spec.tuning.seeds],
        runs=len(results.trials),
        train_seconds=sum(run.train_seconds for run in ended),
        wall_seconds=sum(map(own_seconds, ended)),
        few_validation=None
        if results.objective is not Accuracy
        else few_validation_examples(results.prepared.part(part).sizes for part in part_names(results.spec.data)),
        untuned=tuple(arm.name for arm in results.spec.arms if arm.name not in names and not arm.fitted),
        arms=tuple(arm for arm in arms if arm.trials),
    )


def _arm(results: StudyResults, name: str, part: str) -> ArmTuning:
    runs = [run for run in results.trials if run.arm == name and run.part == part]
    by_rate = {rate: [run for run in runs if run.learning_rate == rate] for rate in _rates(runs)}
    trials = [Trial.of(rate, found) for rate, found in by_rate.items()]
    score, above = scores(trials), too_high(trials)
    return ArmTuning(
        arm=name,
        part=part_words(part),
        chosen=best(trials),
        at_edge=is_at_edge(trials),
        passed_over=_passed_over(trials),
        train_seconds=sum(run.train_seconds for run in runs if isinstance(run, TrainedRun)),
        trials=tuple(
            TrialSummary(
                learning_rate=trial.rate,
                validation_score=trial.score,
                validation_accuracy=trial.accuracy,
                validation_loss=trial.loss,
                score=score.get(trial.rate),
                steps=by_rate[trial.rate][0].steps,
                learned=trial.learned,
                too_high=trial.rate in above,
            )
            for trial in trials
        ),
    )


def _passed_over(trials: Sequence[Trial]) -> PassedOver | None:
    scored = {trial.rate: trial for trial in candidates(trials)}
    if not scored:
        return None
    chosen = scored[best(trials) or 0.0]
    other = max(scored.values(), key=lambda trial: (trial.score or 0.0, -trial.penalty))
    if other.score == chosen.score:
        return None
    return PassedOver(
        learning_rate=other.rate,
        validation_score=other.score,
        because="loss" if other.penalty > chosen.penalty else "neighbours",
    )


def _rates(runs: list[RunResult]) -> list[float]:
    return sorted({run.learning_rate for run in runs})
