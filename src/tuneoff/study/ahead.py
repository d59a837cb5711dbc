"""What follows the runs that a plan holds: trials are planned as the search goes on, and runs once it has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.data.parts import part_names
from tuneoff.study.search import trial_steps, usual_trials
from tuneoff.study.tuning import tuned_arms
from tuneoff.training.loop import total_steps

if TYPE_CHECKING:
    from tuneoff.records.plan import PlanEntry
    from tuneoff.records.prepared import Prepared
    from tuneoff.spec import StudySpec


@dataclass(frozen=True)
class Ahead:
    """What a study has before it beside its plan.

    Attributes:
        trials: that are to be expected, where every arm finds its rate without going beyond an edge.
        runs: that follow all trials.
        steps: of all of these.
        may_grow: whether the search may ask for further trials.
    """

    trials: int = 0
    runs: int = 0
    steps: int = 0
    may_grow: bool = False


def ahead_of(spec: StudySpec, prepared: Prepared, planned: Sequence[PlanEntry]) -> Ahead:
    """What follows, which is nothing once the runs themselves are planned.

    Args:
        spec: the study.
        prepared: its data.
        planned: the entries of its plan.
    """
    if not planned or any(not entry.trial for entry in planned):
        return Ahead()
    in_plan = Counter((entry.arm, entry.part) for entry in planned)
    each = usual_trials(spec.tuning) * len(spec.seeds[: spec.tuning.seeds])
    runs = len(spec.arms) * len(spec.seeds)
    trials = steps = 0
    for part in part_names(spec.data):
        of_run = total_steps(prepared.part(part).sizes["train"], spec.training)
        more = sum(max(0, each - in_plan[arm, part]) for arm in tuned_arms(spec))
        trials += more
        steps += more * trial_steps(of_run) + runs * of_run
    return Ahead(trials, runs * len(part_names(spec.data)), steps, may_grow=spec.tuning.strategy == "grid")


def ahead_in(folder: Path, planned: Sequence[PlanEntry]) -> Ahead:
    """What follows the plan of a study's folder.

    Raises:
        UserError: where the folder is damaged.
    """
    from tuneoff.data.prepared import read_prepared
    from tuneoff.spec import load_study

    if any(not entry.trial for entry in planned):
        return Ahead()  # which needs nothing more to be read
    return ahead_of(load_study(folder / "study.toml"), read_prepared(folder), planned)
