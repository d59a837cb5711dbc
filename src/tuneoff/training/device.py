"""Where to compute and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    from tuneoff.spec import TrainingSpec


def choose_device(training: TrainingSpec) -> torch.device:
    """The device that the study asks for; with `auto`, CUDA where there is one.

    Raises:
        UserError: where CUDA is asked for and absent.
    """
    available = torch.cuda.is_available()
    if training.device == "cuda" and not available:
        raise UserError("training.device = 'cuda', but PyTorch finds no CUDA device here")
    return torch.device("cuda" if available and training.device != "cpu" else "cpu")


def choose_precision(training: TrainingSpec, device: torch.device) -> torch.dtype:
    """bfloat16 or float32; with `auto`, bfloat16 where the device computes it in hardware.

    Raises:
        UserError: where bf16 is asked for on a CUDA device that lacks it.
    """
    native = has_native_bf16(device)
    if training.precision == "bf16" and device.type == "cuda" and not native:
        raise UserError("training.precision = 'bf16', but this GPU has no bfloat16; use 'fp32'")
    if training.precision == "bf16" or (training.precision == "auto" and native):
        return torch.bfloat16
    return torch.float32


def precision_name(precision: torch.dtype) -> Literal["bf16", "fp32"]:
    """What the study file calls it."""
    return "bf16" if precision == torch.bfloat16 else "fp32"


def has_native_bf16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products run in hardware (on x86 CPUs: AVX512-BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
