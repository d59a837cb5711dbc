"""Starting processes from whatever program tuneoff is used in."""

from __future__ import annotations

import signal
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_main_module() -> Iterator[None]:
    """Keeps multiprocessing from importing the caller's script again in each process that is started inside."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


HANGUP = getattr(signal, "SIGHUP", None)
"""Comes when the terminal is closed, but not where `nohup` has it ignored; Windows has none."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP else []))
"""Those that ask the driver to stop."""


@contextmanager
def signals_held() -> Iterator[None]:
    """Keeps signals that ask the driver to stop from a process that is being started and cannot ignore them yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_driver() -> None:
    """In a process that was started with signals held: ignores them from now on."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
