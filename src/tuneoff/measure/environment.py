"""What a result was measured with: versions, machine, device."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

from tuneoff import __version__
from tuneoff.records.environment import Environment

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "numpy", "scikit-learn")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on; those not installed are left out."""
    found = {"python": platform.python_version(), "tuneoff": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def processor() -> str:
    """The CPU's name."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def system() -> str:
    """Operating system and kind of machine, such as `Linux x86_64`."""
    return f"{platform.system()} {platform.machine()}"


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The CUDA devices that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]


def memory_bytes() -> int:
    """Main memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def environment() -> Environment:
    """The content of a study's `environment.json`."""
    return Environment(
        versions=versions(),
        platform=platform.platform(),
        processor=processor(),
        cores=usable_cores(),
        memory_bytes=memory_bytes(),
    )
