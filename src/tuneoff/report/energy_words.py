"""The energy of training and its CO2, in words; nothing of studies in which none was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.summary import Summary

ENERGY, CO2 = "train energy", "train CO2"


def headings(summary: Summary) -> list[str]:
    """Those of the result table's columns."""
    measured = any(arm.energy_joules is not None for arm in summary.scored_arms)
    return [*([ENERGY] if measured else []), *([CO2] if summary.emissions else [])]


def cells(arm: ScoredArm, summary: Summary) -> list[str]:
    """An arm's, in the order of `headings`; empty where its energy is not known."""
    grams = summary.emissions.arms.get(arm.arm) if summary.emissions else None
    said = {
        ENERGY: "" if arm.energy_joules is None else in_units(arm.energy_joules, ("J", "kJ", "MJ")),
        CO2: "" if grams is None else in_units(1000 * grams, ("mg", "g", "kg")),
    }
    return [said[heading] for heading in headings(summary)]


def explained(summary: Summary) -> list[str]:
    """What these columns are, in a line below the table; none without them."""
    measured = [arm for arm in summary.scored_arms if arm.energy_joules is not None]
    if not measured:
        return []
    on_gpu = measured[0].memory_kind == "cuda_allocated"
    counted = (
        "each GPU's own counter, without the machine around it"
        if on_gpu
        else "the counters of the machine's processors, whatever else they did"
    )
    grams = f"; CO2 at {summary.emissions.grams_co2_per_kwh:g} g a kWh" if summary.emissions else ""
    return [f"Train energy is that of a run's optimiser steps, by {counted}{grams}."]


def in_units(value: float, units: Sequence[str]) -> str:
    """A value in the first unit in which it is below 1000, or the last; each is a thousand of the one before."""
    *smaller, largest = units
    for unit in smaller:
        if value < 1000:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} {largest}"
