"""Clocks that wait for the device before they are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Stopwatch:
    """Seconds by purpose, such as `train` and `eval`.

    Args:
        device: waited for before the clock is read.
        seconds: what earlier processes of the same run have spent already.
    """

    def __init__(self, device: torch.device, seconds: dict[str, float] | None = None) -> None:
        self._device = device
        self._purposes: list[str] = []
        self._since = 0.0
        self.seconds: dict[str, float] = dict(seconds or {})

    @contextmanager
    def timing(self, purpose: str) -> Iterator[None]:
        """Adds the time of the block to a purpose, except for that of a block inside it, which is its own purpose's."""
        self._turn()
        self._purposes.append(purpose)
        try:
            yield
        finally:
            self._turn()
            self._purposes.pop()

    def so_far(self) -> dict[str, float]:
        """The seconds by purpose, with those of the blocks that are open now."""
        self._turn()
        return dict(self.seconds)

    def _turn(self) -> None:
        """Books the time since the last turn on the innermost purpose."""
        now = self._now()
        if self._purposes:
            purpose = self._purposes[-1]
            self.seconds[purpose] = self.seconds.get(purpose, 0.0) + now - self._since
        self._since = now

    def _now(self) -> float:
        if self._device.type == "cuda":
            import torch

            torch.cuda.synchronize(self._device)
        return time.perf_counter()
