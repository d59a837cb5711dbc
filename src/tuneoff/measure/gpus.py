"""What NVIDIA's driver says of the GPUs, without touching them: asking makes no CUDA context."""

from __future__ import annotations

from collections.abc import Iterable
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
    library = nvml()
    if library is None:
        return None
    try:
        handles = [
            library.nvmlDeviceGetHandleByIndex(int(gpu)) if gpu.isdigit() else library.nvmlDeviceGetHandleByUUID(gpu)
            for gpu in gpus
        ]
        return min((int(library.nvmlDeviceGetMemoryInfo(handle).free) for handle in handles), default=None)
    except library.NVMLError:  # such as of a part of a GPU, or where it is not allowed
        return None
    finally:
        library.nvmlShutdown()
