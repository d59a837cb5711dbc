"""What a study was last carried out with: `environment.json`."""

from __future__ import annotations

from tuneoff.records.record import Record


class Environment(Record):
    """Versions and machine of the last `tuneoff run`."""

    versions: dict[str, str]
    """of Python and of the packages that a result depends on"""
    platform: str
    """operating system and its version"""
    processor: str
    """name of the CPU"""
    cores: int
    """processor cores that could be used"""
    memory_bytes: int
    """main memory of the machine"""
