"""Who carries out a study: `driver.json`."""

from __future__ import annotations

from tuneoff.records.record import Record


class Driver(Record):
    """The process that carries out a study."""

    pid: int
    """number of the process"""
    host: str
    """name of its machine"""
    started: float
    """when it took the study up, in seconds since 1970"""
    process_created: float
    """when the process began, by which another one of the same number is told apart"""
