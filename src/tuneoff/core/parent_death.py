"""Ties a process to the one that started it, so that nothing goes on after its driver was killed."""

from __future__ import annotations

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2)."""


def tether() -> None:
    """Has the kernel kill this process when the thread that started it ends, however that comes about.

    Linux alone can do that; elsewhere a run's process notices by itself that its driver is gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
