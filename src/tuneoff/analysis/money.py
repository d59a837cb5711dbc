"""What a study cost, at the price an hour that the user names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneoff.analysis.arm_costs import device_seconds
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.money import ArmMoney, Money
from tuneoff.records.run import RunResult, TrainedRun

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults

HOUR = 3600


def count_money(results: StudyResults, arms: Sequence[ArmSummary]) -> Money | None:
    """What runs and trials cost; None where the study names no price."""
    spec = results.spec.analysis
    if spec.price_per_hour is None:
        return None
    a_second = spec.price_per_hour / HOUR

    def spent(runs: Sequence[RunResult], arm: str | None = None) -> float:
        ended = [run for run in runs if isinstance(run, TrainedRun) and arm in (None, run.arm)]
        return a_second * math.fsum(map(device_seconds, ended))

    everything = [*results.runs, *results.trials]
    return Money(
        price_per_hour=spec.price_per_hour,
        currency=spec.currency,
        study=spent(everything),
        trials=spent(results.trials),
        arms={
            arm.arm: ArmMoney(
                run=a_second * arm.device_seconds if isinstance(arm, ScoredArm) else None,
                in_study=spent(everything, arm.arm),
            )
            for arm in arms
        },
    )
