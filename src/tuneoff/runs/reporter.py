"""What a run's process tells its driver while it trains."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from tuneoff.runs.progress import RunProgress

if TYPE_CHECKING:
    from tuneoff.measure.memory import PeakSoFar

REPORT_EVERY_SECONDS = 0.25
REPORTS = 20
"""Over how many reports the examples per second are taken."""


class Reporter:
    """Tells the driver how far the run is, a few times a second at most, and never waits for the device.

    Args:
        connection: to the driver.
        total: optimiser steps of the run.
        examples: training examples of the run, each counted as often as it is trained on.
        loss: says the training loss of late.
        peak: of memory in training.
    """

    def __init__(
        self, connection: Connection, total: int, examples: int, loss: Callable[[], float | None], peak: PeakSoFar
    ) -> None:
        self._connection = connection
        self._total = total
        self._examples_per_step = examples / total
        self._loss = loss
        self._peak = peak
        self._last = 0.0
        self._first: tuple[float, int] | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=REPORTS)

    def step(self, done: int) -> None:
        """To be called after each step with the number of steps done."""
        now = time.monotonic()
        if done < self._total and now - self._last < REPORT_EVERY_SECONDS:
            return
        self._last = now
        self._first = self._first or (now, done)
        self._recent.append((now, done))
        overall, lately = (_seconds_per_step(since, (now, done)) for since in (self._first, self._recent[0]))
        self._connection.send(
            RunProgress(
                steps=done,
                loss=self._loss(),
                examples_per_second=self._examples_per_step / lately if lately else None,
                seconds_per_step=overall,
                memory_bytes=self._peak.so_far()["train"],
            )
        )


def _seconds_per_step(since: tuple[float, int], now: tuple[float, int]) -> float | None:
    steps = now[1] - since[1]
    return (now[0] - since[0]) / steps if steps else None
