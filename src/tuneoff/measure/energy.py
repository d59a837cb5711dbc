"""Energy: a GPU's by its own counter, on a CPU that of all processor packages of the machine; never by a guess."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.measure.gpus import nvml

if TYPE_CHECKING:
    import torch

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows RAPL: the counters of Intel's and AMD's processors, which mostly root alone may read."""
MOST_WATTS = 1000.0
"""More than a processor package takes: a counter that may have gone all the way round at that says nothing."""
LEAST_SECONDS = 1.0
"""Of training whose energy is told. A GPU's counter moves every 20 to 100 ms, so much is unsure at either end."""


@dataclass(frozen=True)
class Counter:
    """A counter of energy.

    Attributes:
        read: says where it stands; raises OSError or ValueError where it cannot.
        joules: that it moves by 1 for.
        most: where it begins anew at 0.
    """

    read: Callable[[], int]
    joules: float
    most: int


class EnergyMeter:
    """The joules of some counters together; of none of them, 0."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._last: tuple[float, list[int]] | None = None

    def spent(self) -> float | None:
        """Joules since it was last asked; None where that is not known, such as the first time."""
        before, self._last = self._last, self._readings()
        if before is None or self._last is None:
            return None
        seconds = self._last[0] - before[0]
        joules = 0.0
        for counter, was, now in zip(self._counters, before[1], self._last[1], strict=True):
            if MOST_WATTS * seconds >= counter.joules * counter.most:
                return None
            joules += counter.joules * ((now - was) % counter.most)
        return joules

    def _readings(self) -> tuple[float, list[int]] | None:
        """When the counters stood where."""
        try:
            return time.monotonic(), [counter.read() for counter in self._counters]
        except (OSError, ValueError):
            return None


def energy_meter(device: torch.device, root: Path = POWERCAP) -> EnergyMeter | None:
    """What measures the energy that a device takes, whoever uses it; None where it has no counter.

    Args:
        device: a GPU, of which it is what the GPU itself takes, or the CPU: all processor packages of the machine.
        root: the folder with the counters of packages.
    """
    counters = _of_gpu(device) if device.type == "cuda" else _of_packages(root)
    return EnergyMeter(counters) if counters else None


def together(joules: Iterable[float | None]) -> float | None:
    """The sum; None where one of them is not known."""
    parts = list(joules)
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _of_gpu(device: torch.device) -> list[Counter]:
    import torch

    library = nvml()
    if library is None:
        return []
    # Neither CUDA_VISIBLE_DEVICES nor CUDA numbers GPUs as the driver does.
    name = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    try:
        handle = library.nvmlDeviceGetHandleByUUID(name)
        library.nvmlDeviceGetTotalEnergyConsumption(handle)
    except library.NVMLError:  # it is a part of a GPU, or has no counter
        return []
    return [] if _is_divided(library, handle) else [Counter(partial(_millijoules, library, handle), 1e-3, 2**64)]


def _is_divided(library: Any, handle: Any) -> bool:
    """Whether a GPU has parts (MIG), which count together."""
    try:
        return bool(library.nvmlDeviceGetMigMode(handle)[0] == library.NVML_DEVICE_MIG_ENABLE)
    except library.NVMLError:  # it cannot have
        return False


def _millijoules(library: Any, handle: Any) -> int:
    try:
        return int(library.nvmlDeviceGetTotalEnergyConsumption(handle))
    except library.NVMLError as error:
        raise OSError(str(error)) from error


def _of_packages(root: Path) -> list[Counter]:
    try:
        return [
            Counter(partial(_number, zone / "energy_uj"), 1e-6, _number(zone / "max_energy_range_uj"))
            for zone in sorted(root.glob("intel-rapl:*"))
            # Others are parts of a package, such as its cores, or more than packages (`psys`).
            if (zone / "name").read_text().startswith("package")
        ]
    except (OSError, ValueError):
        return []


def _number(path: Path) -> int:
    return int(path.read_text())
