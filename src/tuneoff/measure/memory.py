"""Peak memory of this process: allocated on a CUDA device, resident on a CPU."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tuneoff.records.run import MemoryKind

if TYPE_CHECKING:
    import torch


class PeakMemory(Protocol):
    """A high-water mark that can be reset."""

    kind: MemoryKind

    def reset(self) -> None:
        """Starts a new measurement at the present use."""

    def peak_bytes(self) -> int:
        """The most since the last reset."""

    def reserved_bytes(self) -> int:
        """The most that the allocator has held since the last reset; on a CPU the same as the peak."""


def peak_memory(device: torch.device) -> PeakMemory:
    """The meter that fits the device."""
    return CudaPeak(device) if device.type == "cuda" else ResidentPeak()


class PeakSoFar:
    """The peak of a run's training, whichever of its processes reached it.

    Args:
        meter: of this process.
        earlier: what `so_far` returned in an earlier process of the same run.
    """

    def __init__(self, meter: PeakMemory, earlier: dict[str, int] | None = None) -> None:
        self._meter = meter
        self._earlier = earlier or {}

    def so_far(self) -> dict[str, int]:
        """Bytes: `train`, the peak, and `reserved`, what the allocator held."""
        now = {"train": self._meter.peak_bytes(), "reserved": self._meter.reserved_bytes()}
        return {name: max(value, self._earlier.get(name, 0)) for name, value in now.items()}


class CudaPeak:
    """PyTorch's own high-water marks of allocated and reserved memory."""

    kind: MemoryKind = "cuda_allocated"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> None:
        import torch

        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak_bytes(self) -> int:
        import torch

        return torch.cuda.max_memory_allocated(self.device)

    def reserved_bytes(self) -> int:
        import torch

        return torch.cuda.max_memory_reserved(self.device)


class ResidentPeak:
    """Resident memory of the run's process, its libraries included.

    Linux keeps a high-water mark that can be reset (proc(5), clear_refs). Elsewhere it cannot, and the peak is
    that of the whole process so far.
    """

    kind: MemoryKind = "process_rss"

    def reset(self) -> None:
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

    def reserved_bytes(self) -> int:
        return self.peak_bytes()
