"""What NVIDIA's driver says of the GPUs, without touching them: asking makes no CUDA context."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any


def nvml() -> Any | None:
    """NVIDIA's library, ready to be asked until its `nvmlShutdown`; None where it or the driver is missing."""
    try:
        import pynvml
    except ImportError:  # Tuneoff may have been installed without what it asks for
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # there is no driver
        return None
    return pynvml


def free_gpu_bytes(gpus: Iterable[str]) -> int | None:
    """Memory that is free now on the one of some GPUs that has least of it; None where nobody says.

    Args:
        gpus: as `CUDA_VISIBLE_DEVICES` names them. Unlike ones CUDA may number in another order than the driver.
    """

    def least(library: Any) -> int | None:
        return min((int(library.nvmlDeviceGetMemoryInfo(_handle(library, gpu)).free) for gpu in gpus), default=None)

    return _answer(least)


def own_gpu_bytes(gpu: str) -> int | None:
    """Memory that this process takes of a GPU, CUDA's context included; None where nobody says.

    Args:
        gpu: likewise.
    """

    def own(library: Any) -> int | None:
        used = {
            one.pid: one.usedGpuMemory for one in library.nvmlDeviceGetComputeRunningProcesses(_handle(library, gpu))
        }
        # In a container a process does not know the number that the driver knows it by. If there is one, it is this.
        size = used.get(os.getpid(), next(iter(used.values())) if len(used) == 1 else None)
        return None if size is None else int(size)

    return _answer(own)


def _handle(library: Any, gpu: str) -> Any:
    return library.nvmlDeviceGetHandleByIndex(int(gpu)) if gpu.isdigit() else library.nvmlDeviceGetHandleByUUID(gpu)


def _answer(question: Callable[[Any], int | None]) -> int | None:
    library = nvml()
    if library is None:
        return None
    try:
        return question(library)
    except library.NVMLError:  # such as of a part of a GPU, or where it is not allowed
        return None
    finally:
        library.nvmlShutdown()
