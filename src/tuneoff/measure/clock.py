"""Clocks that wait for the device before they are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tuneoff.measure.energy import EnergyMeter, together

if TYPE_CHECKING:
    import torch

LOOK_SECONDS = 10.0
"""Between two looks at counters of energy."""


class Stopwatch:
    """Seconds by purpose, such as `train` and `eval`, and the joules of `train`.

    Args:
        device: waited for before the clock is read.
        seconds: what earlier processes of the same run have spent already.
        meter: of energy; None where that is not to be known.
        train_joules: what earlier processes have spent likewise; None where that is not known.

    Attributes:
        seconds: by purpose.
        train_joules: of `train`; None where they are not known.
    """

    def __init__(
        self,
        device: torch.device,
        seconds: dict[str, float] | None = None,
        meter: EnergyMeter | None = None,
        train_joules: float | None = 0.0,
    ) -> None:
        self._device = device
        self._purposes: list[str] = []
        self._since = 0.0
        self._meter = meter
        self._looked = 0.0
        self.seconds: dict[str, float] = dict(seconds or {})
        self.train_joules = None if meter is None else train_joules

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

    def look(self) -> None:
        """To be called now and then while something is timed: counters of energy begin anew after minutes."""
        if time.perf_counter() - self._looked >= LOOK_SECONDS:
            self._book_energy()

    def _turn(self) -> None:
        """Books the time and the energy since the last turn on the innermost purpose."""
        now = self._now()
        if self._purposes:
            purpose = self._purposes[-1]
            self.seconds[purpose] = self.seconds.get(purpose, 0.0) + now - self._since
        self._since = now
        self._book_energy()

    def _book_energy(self) -> None:
        if self._meter is None:
            return
        self._looked = time.perf_counter()
        spent = self._meter.spent()
        if self._purposes[-1:] == ["train"]:
            self.train_joules = together((self.train_joules, spent))

    def _now(self) -> float:
        if self._device.type == "cuda":
            import torch

            torch.cuda.synchronize(self._device)
        return time.perf_counter()
