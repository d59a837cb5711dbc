"""Which of a run's processes one is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessRank:
    """The number `rank` of `world_size` processes that train one run, which find each other through a new file."""

    rank: int = 0
    world_size: int = 1
    rendezvous_file: str = ""
