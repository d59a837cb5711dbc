"""Tuning: every arm tries as many learning rates, and validation decides; no trial ever reads a test example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.data.parts import part_names
from tuneoff.errors import UserError
from tuneoff.files import canonical_hash
from tuneoff.study.plan import Run, make_run

if TYPE_CHECKING:
    from tuneoff.methods import Method
    from tuneoff.spec import StudySpec, TuningSpec
    from tuneoff.study.prepare import PreparedStudy
    from tuneoff.study.store import Store

SPACING = math.sqrt(10)
"""Between neighbours of a grid: two of them are a factor of ten."""
RANGE = 10
"""Where an arm declares no range, Optuna looks from its learning rate divided by this to that multiplied by it."""
MOST_EXTENSIONS = 4


@dataclass(frozen=True)
class Trial:
    """A learning rate that was tried.

    Attributes:
        rate: the learning rate.
        accuracy: mean validation accuracy over the tuning seeds; None where a run of it failed.
        loss: mean validation loss, likewise.
    """

    rate: float
    accuracy: float | None
    loss: float | None


class Tuning:
    """The trials of a study, as far as the results in its folder let them be known.

    Each part of the data is tuned by itself, since another part's validation examples may be this one's test.

    Args:
        spec: the study.
        prepared: its data.
        store: where results of trials are.
    """

    def __init__(self, spec: StudySpec, prepared: PreparedStudy, store: Store) -> None:
        self._spec = spec
        self._prepared = prepared
        self._store = store

    def runs(self) -> list[Run]:
        """Every run of a trial that is known to be needed by now, done or not: first all arms' first rates, and so on.

        Once all of them are done another call may add some; tuning has ended when it does not.
        """
        wanted = []
        for part in part_names(self._spec.data):
            for arm in self._spec.arms:
                done, rates = self._history(arm, part)
                wanted += [
                    (place, run)
                    for place, rate in enumerate([trial.rate for trial in done] + rates)
                    for run in self._runs_of(arm, part, rate)
                ]
        return [run for _, run in sorted(wanted, key=lambda entry: entry[0])]

    def tuned(self, part: str) -> list[Method]:
        """The study's arms with the learning rates that were chosen on a part's validation split."""
        return [at_rate(arm, best(self._history(arm, part)[0], arm)) for arm in self._spec.arms]

    def _history(self, arm: Method, part: str) -> tuple[list[Trial], list[float]]:
        """The trials of all rounds that have ended, and the rates of the round under way."""
        done: list[Trial] = []
        while rates := proposals(self._spec.tuning, arm, done):
            found = [self._trial(arm, part, rate) for rate in rates]
            ended = [trial for trial in found if trial is not None]
            if len(ended) < len(rates):
                return done, rates
            done += ended
        return done, []

    def _trial(self, arm: Method, part: str, rate: float) -> Trial | None:
        results = [self._store.result(run.id) for run in self._runs_of(arm, part, rate)]
        ended = [result for result in results if result is not None and result["status"] != "interrupted"]
        return None if len(ended) < len(results) else trial_of(rate, ended)

    def _runs_of(self, arm: Method, part: str, rate: float) -> list[Run]:
        seeds = self._spec.seeds[: self._spec.tuning.seeds]
        return [make_run(self._spec, self._prepared, at_rate(arm, rate), seed, part, trial=True) for seed in seeds]


def proposals(tuning: TuningSpec, arm: Method, done: Sequence[Trial]) -> list[float]:
    """The learning rates that an arm tries next, given all that it has tried; none when it has tried enough."""
    if tuning.trials == 1 or arm.fitted:
        return []
    if tuning.strategy == "optuna":
        return [_asked(tuning, arm, done)] if len(done) < tuning.trials else []
    if not done:
        return grid(arm.learning_rate, tuning.trials)
    if tuning.extend and len(done) < tuning.trials + MOST_EXTENSIONS and is_at_edge(done, arm):
        rates = [trial.rate for trial in done]
        beyond = max(rates) * SPACING if best(done, arm) == max(rates) else min(rates) / SPACING
        return [_rounded(beyond)]
    return []


def grid(centre: float, trials: int) -> list[float]:
    """Learning rates around a published one, which is among them, each √10 times the one before, two digits."""
    first = -((trials - 1) // 2)
    return [centre if step == 0 else _rounded(centre * SPACING**step) for step in range(first, first + trials)]


def trial_of(rate: float, results: Sequence[dict[str, object]]) -> Trial:
    """What the results of all runs at a learning rate say of it."""
    if any(result["status"] != "ok" for result in results):
        return Trial(rate, None, None)
    last = [result["curve"][-1] for result in results]  # type: ignore[index]
    accuracy, loss = (
        math.fsum(entry[name] for entry in last) / len(last) for name in ("validation_accuracy", "validation_loss")
    )
    return Trial(rate, accuracy, loss)


def best(done: Sequence[Trial], arm: Method) -> float:
    """The learning rate with the highest validation accuracy, of equal ones that with the lowest loss.

    The arm's own where no trial succeeded, or none was made.
    """
    scored = [(-trial.accuracy, trial.loss, trial.rate) for trial in done if trial.accuracy is not None]
    return min(scored)[2] if scored else arm.learning_rate


def is_at_edge(done: Sequence[Trial], arm: Method) -> bool:
    """Whether the best of several rates is the lowest or the highest tried, so that one beyond may be better."""
    rates = [trial.rate for trial in done]
    return len(rates) > 1 and best(done, arm) in (min(rates), max(rates))


def at_rate(arm: Method, rate: float) -> Method:
    """An arm with another learning rate."""
    return arm.model_copy(update={"learning_rate": rate})


def _asked(tuning: TuningSpec, arm: Method, done: Sequence[Trial]) -> float:
    """What the tree-structured Parzen estimator (Bergstra et al. 2011) proposes, after being told of all trials.

    It is asked anew each time, with a seed of its own for each arm and trial, so that a study that was interrupted
    goes on as it would have.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    low, high = arm.learning_rate_range or (arm.learning_rate / RANGE, arm.learning_rate * RANGE)
    rates = optuna.distributions.FloatDistribution(low, high, log=True)
    seed = int(canonical_hash([arm.name, len(done)])[:8], 16)
    sampler = optuna.samplers.TPESampler(n_startup_trials=min(10, max(2, tuning.trials // 3)), seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in done:
        failed = trial.accuracy is None
        state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                params={"learning_rate": trial.rate},
                distributions={"learning_rate": rates},
                value=trial.accuracy,
                state=state,
            )
        )
    return _rounded(study.ask({"learning_rate": rates}).params["learning_rate"], low, high)


def check_tuning(spec: StudySpec) -> None:
    """Says in good time what keeps a study from being tuned.

    Raises:
        UserError: where Optuna is asked for and is not installed.
    """
    if spec.tuning.strategy == "optuna" and spec.tuning.trials > 1:
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise UserError("tuning.strategy = 'optuna' needs Optuna: pip install 'tuneoff[optuna]'") from error


def _rounded(rate: float, low: float = 0.0, high: float = math.inf) -> float:
    """A rate with two digits, as people write it, within its range."""
    return min(max(float(f"{rate:.1e}"), low), high)
