"""What a study cost, in the user's money."""

from __future__ import annotations

from tuneoff.records.record import Record


class ArmMoney(Record):
    """What an arm cost."""

    run: float | None
    """a run, from its process's start to its end: mean, under the conditions of the arm's other costs; null where none
    has succeeded"""
    in_study: float
    """all its runs and trials that came to their end"""


class Money(Record):
    """What a study cost: the time of each run's process, on each of its devices, at a price an hour.

    Runs that shared a device count for as long as they took.
    """

    price_per_hour: float
    """of one GPU, or on a CPU of the machine"""
    currency: str
    """as the user calls it; may be empty"""
    study: float
    """all runs and trials that came to their end"""
    trials: float
    """of these the trials"""
    arms: dict[str, ArmMoney]
    """by arm"""
