"""Peak memory of this process: allocated on a CUDA device, resident on a CPU."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tuneoff.records.run import MemoryKind

if TYPE_CHECKING:
    import torch


class PeakMemory(Protocol):
    """A high-water mark that can be reset."""

    kind: MemoryKind

    def reset(self) -> None:
        """Starts a new measurement at the present use, with what the allocator keeps for later given back."""

    def restart(self) -> None:
        """Starts a new measurement at the present use, and leaves all as it is."""

    def peak_bytes(self) -> int:
        """The most since the last reset."""

    def reserved_bytes(self) -> int | None:
        """The most that an allocator has held since the last reset; None where there is none, on a CPU."""

    def present_bytes(self) -> int:
        """The present use."""


def peak_memory(device: torch.device) -> PeakMemory:
    """The meter that fits the device."""
    return CudaPeak(device) if device.type == "cuda" else ResidentPeak()


NO_MAIN_MEMORY = "can't allocate memory"
"""PyTorch's words for it, in a RuntimeError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's or main memory is exhausted."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or NO_MAIN_MEMORY in str(error)


def graph_pool_bytes(pool: tuple[int, int]) -> int:
    """What PyTorch's allocator reserves for the CUDA graphs that share a memory pool."""
    import torch

    segments = torch.cuda.memory_snapshot()
    return sum(segment["total_size"] for segment in segments if tuple(segment["segment_pool_id"]) == tuple(pool))


class PeakSoFar:
    """The peaks of a run's training and of its evaluations, whichever of its processes reached them.

    Args:
        meter: of this process.
        earlier: what `so_far` returned in an earlier process of the same run.
    """

    def __init__(self, meter: PeakMemory, earlier: dict[str, int] | None = None) -> None:
        self._meter = meter
        self._peaks = {"train": 0, "eval": 0, "reserved": 0} | (earlier or {})
        self._phase = "train"

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """What happens inside counts as evaluation, what happens outside as training."""
        self.so_far()
        self._meter.restart()
        self._phase = "eval"
        try:
            yield
        finally:
            self.so_far()
            self._meter.restart()
            self._phase = "train"

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """What happens inside counts as neither."""
        self.so_far()
        try:
            yield
        finally:
            self._meter.restart()

    def so_far(self) -> dict[str, int]:
        """Bytes: the peaks of `train` and `eval` (0 before the first), and `reserved`, the most an allocator held.

        Without an allocator `reserved` is the peak of `train`.
        """
        self._peaks[self._phase] = max(self._peaks[self._phase], self._meter.peak_bytes())
        reserved = self._meter.reserved_bytes()
        self._peaks["reserved"] = self._peaks["train"] if reserved is None else max(self._peaks["reserved"], reserved)
        return dict(self._peaks)


class CudaPeak:
    """PyTorch's own high-water marks of allocated and reserved memory."""

    kind: MemoryKind = "cuda_allocated"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._allocated = self._reserved = 0
        """The most of the stages since the last reset, whose marks PyTorch has forgotten."""

    def reset(self) -> None:
        import torch

        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        self.restart()

    def restart(self) -> None:
        import torch

        self._allocated = self._reserved = 0
        torch.cuda.reset_peak_memory_stats(self.device)

    def stage(self) -> tuple[int, int]:
        """Bytes that are allocated now, and the most since this was asked last; the measurement goes on.

        It asks the allocator's books on the host, and nothing of the device: also while a CUDA graph is captured.
        """
        import torch

        books = torch.cuda.memory_stats_as_nested_dict(self.device)
        allocated, reserved = (books[name]["all"] for name in ("allocated_bytes", "reserved_bytes"))
        self._allocated = max(self._allocated, allocated["peak"])
        self._reserved = max(self._reserved, reserved["peak"])
        torch.cuda.reset_peak_memory_stats(self.device)
        return allocated["current"], allocated["peak"]

    def peak_bytes(self) -> int:
        import torch

        return max(self._allocated, torch.cuda.max_memory_allocated(self.device))

    def reserved_bytes(self) -> int:
        import torch

        return max(self._reserved, torch.cuda.max_memory_reserved(self.device))

    def present_bytes(self) -> int:
        import torch

        return torch.cuda.memory_allocated(self.device)


class ResidentPeak:
    """Resident memory of the run's process, its libraries included.

    Linux keeps a high-water mark that can be reset (proc(5), clear_refs). Elsewhere it cannot, and the peak is
    that of the whole process so far.
    """

    kind: MemoryKind = "process_rss"

    def reset(self) -> None:
        self.restart()

    def restart(self) -> None:
        marker = Path("/proc/self/clear_refs")
        if marker.exists():
            marker.write_text("5")

    def peak_bytes(self) -> int:
        status = Path("/proc/self/status")
        if status.exists():
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale

    def reserved_bytes(self) -> None:
        return None

    def present_bytes(self) -> int:
        import psutil

        return int(psutil.Process().memory_info().rss)
