"""The training loss of late, read while training goes on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from tuneoff.training.engine import Engine

LOOKS = 20
"""Over how many looks the mean is taken, within an epoch."""


class CurrentLoss:
    """Mean training loss of an engine's last steps.

    A device is not waited for: the sum is copied once its queue comes to that, and read at a later look. Where a run
    has several devices, this process's share of the batches stands for all.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._on_gpu = engine.device.type == "cuda"
        self._copy = torch.zeros((), pin_memory=self._on_gpu)
        self._copied = torch.cuda.Event() if self._on_gpu else None
        self._examples = 0
        self._looks: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=LOOKS)
        self._mean: float | None = None

    def look(self) -> float | None:
        """The mean loss as far as it is known by now; None before anything is."""
        if self._copied is None:
            self._take()
            self._note()
        elif self._copied.query():  # true as well before the first copy
            self._note()
            self._take()
            self._copied.record()
        return self._mean

    def _take(self) -> None:
        loss_sum, self._examples = self._engine.loss_so_far()
        self._copy.copy_(loss_sum, non_blocking=True)

    def _note(self) -> None:
        total, examples = float(self._copy), self._examples
        if examples < self._looks[-1][1]:  # an epoch has begun, and the engine's sum with it
            self._looks.clear()
            self._looks.append((0.0, 0))
        self._looks.append((total, examples))
        before, examples_before = self._looks[0]
        if examples > examples_before:
            self._mean = (total - before) * self._engine.ranks.count / (examples - examples_before)
