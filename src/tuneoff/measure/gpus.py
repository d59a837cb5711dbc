"""What NVIDIA's driver says of the GPUs, without touching them: asking makes no CUDA context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pynvml


def free_gpu_bytes(gpus: Iterable[str]) -> int | None:
    """Memory that is free now on the one of some GPUs that has least of it; None where nobody says.

    Args:
        gpus: as `CUDA_VISIBLE_DEVICES` names them. Unlike ones CUDA may number in another order than the driver.
    """
    with _driver() as there:
        if not there:
            return None
        try:
            handles = [
                pynvml.nvmlDeviceGetHandleByIndex(int(gpu)) if gpu.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(gpu)
                for gpu in gpus
            ]
            return min((int(pynvml.nvmlDeviceGetMemoryInfo(handle).free) for handle in handles), default=None)
        except pynvml.NVMLError:  # such as of a part of a GPU, or where it is not allowed
            return None


@contextmanager
def _driver() -> Iterator[bool]:
    """Inside, the driver's library can be asked, unless it is not there."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()
