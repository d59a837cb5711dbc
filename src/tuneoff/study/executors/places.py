"""Where runs are carried out on this machine, and what goes on there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuneoff.runs.task import RunTask

SIDE_BY_SIDE = 4
"""The most runs on a GPU at a time: one computes while others set up, evaluate or store; not tuned."""


class Place:
    """A device or group of devices that runs share: as many as are asked for, or as its memory has room for.

    Args:
        gpu: as `CUDA_VISIBLE_DEVICES` names it; None for a CPU.
        most: runs at a time.
        room: bytes, where runs that say what they take go on side by side, and others alone.
    """

    def __init__(self, gpu: str | None, most: int, room: int | None) -> None:
        self.gpu = gpu
        self._most = most
        self._room = room
        self._taken: dict[str, int | None] = {}
        self._own_seconds: dict[str, float] = {}
        self._counted_at = 0.0

    @property
    def busy(self) -> int:
        """Runs that go on here."""
        return len(self._taken)

    def fits(self, task: RunTask) -> bool:
        """Whether a run can begin beside those that go on."""
        if self._room is None:
            return self.busy < self._most
        taken = [*self._taken.values(), task.gpu_bytes]
        known = [size for size in taken if size is not None]
        return not self._taken or (len(known) == len(taken) <= SIDE_BY_SIDE and sum(known) <= self._room)

    def begin(self, task: RunTask) -> None:
        """A run begins here."""
        self._count()
        self._taken[task.run.id] = task.gpu_bytes
        self._own_seconds[task.run.id] = 0.0

    def own_seconds(self, run_id: str) -> float:
        """A run's share of the time since it began."""
        self._count()
        return self._own_seconds[run_id]

    def end(self, run_id: str) -> None:
        """A run has ended, and holds nothing any more."""
        self._count()
        del self._taken[run_id], self._own_seconds[run_id]

    def _count(self) -> None:
        """Shares out the time since the last look among the runs that went on."""
        now = time.monotonic()
        for run_id in self._taken:
            self._own_seconds[run_id] += (now - self._counted_at) / self.busy
        self._counted_at = now


class Places:
    """All places of this machine.

    Args:
        gpus: one or a group each, or None for the CPU.
        workers: runs at a time over all of them, where `room` is None.
        room: bytes of each GPU that runs side by side may take.
    """

    def __init__(self, gpus: Sequence[str | None], workers: int, room: int | None) -> None:
        share, more = divmod(workers, len(gpus))
        self._places = [Place(gpu, share + (index < more), room) for index, gpu in enumerate(gpus)]

    def of(self, task: RunTask) -> Place | None:
        """Where a run can begin now: where fewest go on."""
        return min((place for place in self._places if place.fits(task)), key=lambda place: place.busy, default=None)
