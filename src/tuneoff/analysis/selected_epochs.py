"""Which epochs the tested weights are of, where a study selects the best, and what training took until then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneoff.core.texts import in_line
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.run import ScoredRun

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


def selection_notes(results: StudyResults, arms: Sequence[ArmSummary]) -> list[str]:
    """A sentence about the arms that are trained in steps; none where the last epoch's weights are tested."""
    if results.spec.training.select == "last":
        return []
    fitted = {arm.name for arm in results.spec.arms if arm.fitted}
    told = []
    for arm in arms:
        if not isinstance(arm, ScoredArm) or arm.arm in fitted or arm.selected_train_seconds is None:
            continue
        runs = [run for run in results.runs if isinstance(run, ScoredRun) and run.arm == arm.arm]
        epochs = in_line([str(epoch) for epoch in sorted({run.selected.epoch for run in runs})])
        told.append(f"{arm.arm} of epoch {epochs} ({arm.selected_train_seconds:,.1f} of {arm.train_seconds:,.1f} s)")
    if not told:
        return []
    return [
        "The weights of the best epoch on validation were tested (training.select = 'best'), with the time to train "
        f"until then and in all: {in_line(told)}. Train time and memory are those of the whole training."
    ]
