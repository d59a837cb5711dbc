"""Ctrl-C, SIGTERM and SIGHUP: once stops a study after the step under way, twice at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tuneoff.core.processes import HANGUP, SIGNALS


class Interruption:
    """Counts the signals that ask to stop."""

    def __init__(self) -> None:
        self.requested = False
        self._graceful = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, signals come here. Outside `graceful` the first one raises KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread can be told of signals
            return
        heard = [number for number in SIGNALS if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def graceful(self) -> Iterator[None]:
        """Inside, the first signal only sets `requested`; the second raises KeyboardInterrupt."""
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested or not self._graceful:
            raise KeyboardInterrupt
        self.requested = True
