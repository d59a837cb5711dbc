"""The CO2 of runs, at the grams a kilowatt-hour that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.emissions import Emissions

if TYPE_CHECKING:
    from tuneoff.spec import AnalysisSpec

KWH = 3.6e6
"""In joules."""


def count_emissions(spec: AnalysisSpec, arms: Sequence[ArmSummary]) -> Emissions | None:
    """What a run of each arm emitted; None where the study names no grams, or no arm's energy is known."""
    known = {arm.arm: arm.energy_joules for arm in arms if isinstance(arm, ScoredArm) and arm.energy_joules is not None}
    grams = spec.grams_co2_per_kwh
    if grams is None or not known:
        return None
    return Emissions(grams_co2_per_kwh=grams, arms={arm: grams * joules / KWH for arm, joules in known.items()})
