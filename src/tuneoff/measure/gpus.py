"""What NVIDIA's driver says of the GPUs, without touching them: asking makes no CUDA context."""

from __future__ import annotations

from collections.abc import Iterable


def free_gpu_bytes(gpus: Iterable[str]) -> int | None:
    """Memory that is free now on the one of some GPUs that has least of it; None where nobody says.

    Args:
        gpus: as `CUDA_VISIBLE_DEVICES` names them. Unlike ones CUDA may number in another order than the driver.
    """
    try:
        import pynvml
    except ImportError:  # Tuneoff may have been installed without what it asks for
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # there is no driver
        return None
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(int(gpu)) if gpu.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(gpu)
            for gpu in gpus
        ]
        return min((int(pynvml.nvmlDeviceGetMemoryInfo(handle).free) for handle in handles), default=None)
    except pynvml.NVMLError:  # such as of a part of a GPU, or where it is not allowed
        return None
    finally:
        pynvml.nvmlShutdown()
