"""Settings of a process that trains on a CPU."""

from __future__ import annotations

import ctypes
import platform

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Of glibc's mallopt(3)."""


def settle_on_cpu(threads: int) -> None:
    """Uses so many threads, and keeps freed memory instead of returning it.

    Every step frees and asks for the same large tensors. glibc gives such memory back and gets it anew, page by
    page, which costs more than the arithmetic on it.
    """
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_ARENA_MAX, 1)):
            mallopt(option, value)
