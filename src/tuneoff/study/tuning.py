"""Tuning: arms that name no learning rate look for one, and validation decides; no trial reads a test example."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.data.parts import part_names
from tuneoff.runs.run import Run
from tuneoff.study import search
from tuneoff.study.plan import make_run, steps_of
from tuneoff.study.rates import at_rate, at_starting_rates
from tuneoff.study.search import Trial, best
from tuneoff.study.search_optuna import OptunaSearch

if TYPE_CHECKING:
    from tuneoff.runs.allocation import Allocation
    from tuneoff.spec import StudySpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.study.prepare import PreparedStudy
    from tuneoff.study.store import Store


class Tuning:
    """The trials of a study, as far as the results in its folder let them be known.

    Each part of the data is tuned by itself, since another part's validation examples may be this one's test.

    Args:
        spec: the study.
        prepared: its data.
        store: where results of trials are.
        allocation: what trials are computed on.
    """

    def __init__(self, spec: StudySpec, prepared: PreparedStudy, store: Store, allocation: Allocation) -> None:
        self._spec = spec
        self._prepared = prepared
        self._store = store
        self._allocation = allocation
        self._searches: dict[tuple[str, str], OptunaSearch] = {}
        width = prepared.prepared.model_width
        self._starts = {
            part: at_starting_rates(spec.arms, width, steps_of(spec, prepared, part)) for part in part_names(spec.data)
        }

    def runs(self) -> list[Run]:
        """Every run of a trial that is known to be needed by now, done or not: first all arms' first rates, and so on.

        Once all of them are done another call may add some; tuning has ended when it does not.
        """
        wanted = []
        for part, starts in self._starts.items():
            for arm in filter(self._is_tuned, starts):
                done, rates = self._history(arm, part)
                wanted += [
                    (place, run)
                    for place, rate in enumerate([trial.rate for trial in done] + rates)
                    for run in self._runs_of(arm, part, rate)
                ]
        return [run for _, run in sorted(wanted, key=lambda entry: entry[0])]

    def tuned(self, part: str) -> list[ArmSpec]:
        """The study's arms with the rates named, found on a part's validation split, or started from."""
        return [self._settled(arm, part) for arm in self._starts[part]]

    def _settled(self, arm: ArmSpec, part: str) -> ArmSpec:
        found = best(self._history(arm, part)[0]) if self._is_tuned(arm) else None
        return arm if found is None else at_rate(arm, found)

    def _is_tuned(self, arm: ArmSpec) -> bool:
        return arm.name in tuned_arms(self._spec)

    def _history(self, arm: ArmSpec, part: str) -> tuple[list[Trial], list[float]]:
        """The trials of all rounds that have ended, and the rates of the round under way."""
        done: list[Trial] = []
        while rates := self._proposals(arm, part, done):
            found = [self._trial(arm, part, rate) for rate in rates]
            ended = [trial for trial in found if trial is not None]
            if len(ended) < len(rates):
                return done, rates
            done += ended
        return done, []

    def _proposals(self, arm: ArmSpec, part: str, done: list[Trial]) -> list[float]:
        """The learning rates that an arm, given at its starting rate, tries next; none when it has tried enough."""
        if self._spec.tuning.strategy == "grid":
            return search.proposals(self._spec.tuning, arm.rate, done)
        if (arm.name, part) not in self._searches:
            self._searches[arm.name, part] = OptunaSearch(self._spec.tuning, arm)
        return self._searches[arm.name, part].proposals(done)

    def _trial(self, arm: ArmSpec, part: str, rate: float) -> Trial | None:
        results = [self._store.result(run.id) for run in self._runs_of(arm, part, rate)]
        ended = [result for result in results if result is not None and result.status != "interrupted"]
        return None if len(ended) < len(results) else Trial.of(rate, ended)

    def _runs_of(self, arm: ArmSpec, part: str, rate: float) -> list[Run]:
        seeds = self._spec.seeds[: self._spec.tuning.seeds]
        tried = at_rate(arm, rate)
        return [make_run(self._spec, self._prepared, self._allocation, tried, seed, part, trial=True) for seed in seeds]


def tuned_arms(spec: StudySpec) -> list[str]:
    """Names of the arms that look for their learning rate: those that name none, unless nothing is tuned."""
    if spec.tuning.trials == 1:
        return []
    return [arm.name for arm in spec.arms if arm.learning_rate is None]
