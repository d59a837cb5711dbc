"""The CO2 of runs, at what the user says of the electricity."""

from __future__ import annotations

from tuneoff.records.record import Record


class Emissions(Record):
    """The CO2 of the energy that training took, at so many grams a kilowatt-hour."""

    grams_co2_per_kwh: float
    """of the electricity, as the study says"""
    arms: dict[str, float]
    """grams of a run, by arm: of its mean `energy_joules`; without arms of which that is not known"""
