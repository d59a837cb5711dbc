"""Which kernels of our own a run computes with on a CUDA device, in place of PyTorch's and the libraries'."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuneoff.spec import TrainingSpec

KERNELS = frozenset(
    {
        "attention",
        "dropout",
        "residual_norm",
        "pre_norm",
        "rotary",
        "gated",
        "bias_gelu",
        "shared_linear",
        "lora",
        "ia3",
        "adamw",
    }
)
"""All that there are. Each can be left out alone; `benchmarks/own_kernels.py` does, and so finds what it saves."""

ATTENTION_HEAD_SIZES = (32, 64, 128)
"""Those that the attention kernels are cut for; others go to PyTorch's, which drop no weights."""

switched_off: set[str] = set()
"""For that benchmark, which changes it between engines: names that engines made from then on do without."""


def chosen_kernels(training: TrainingSpec) -> frozenset[str]:
    """The names of the kernels that an engine uses with these settings, where the device has any."""
    return frozenset() if training.kernels == "torch" else KERNELS - switched_off
