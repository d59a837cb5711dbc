"""How long a study will take: what `tuneoff plan --probe` finds by a few real steps of each arm."""

from __future__ import annotations

from tuneoff.records.record import Record


class ProbedArm(Record):
    """What a run of an arm takes, in seconds."""

    arm: str
    """its name"""
    method: str
    """its method"""
    step: float | None
    """an optimiser step of usual length; null where the arm takes none, or nothing could be found out"""
    setup: float | None
    """from the start of a run's process to its first step; null where nothing could be found out"""
    run: float | None
    """a run from its start to its end; likewise"""
    trial: float | None
    """a trial of a learning rate; null likewise, and where the arm is not tuned"""
    why_not: str | None
    """what went wrong in its steps"""


class ProbedStudy(Record):
    """What `tuneoff plan --probe --json` prints."""

    study: str
    """its name"""
    device: str
    """the name of the GPU or processor that it was found on"""
    runs: int
    """without trials"""
    trials: int
    """to be expected"""
    at_once: int
    """runs that are carried out side by side, which is not probed: they are counted as if each were alone"""
    arms: tuple[ProbedArm, ...]
    """in the study's order"""
    seconds: float | None
    """of all trials and runs; null where an arm's could not be found out"""
    most_seconds: float | None
    """likewise, where each search goes beyond an edge as often as it may"""
    cost: float | None
    """of `seconds`, at the study's price of an hour; null without one"""
    currency: str
    """of the price"""
