"""How the kernels of ours are started."""

from __future__ import annotations

from typing import Any

import torch


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Starts a Triton kernel; not on tensors of the meta device, where a step is only gone through for its memory.

    Args:
        kernel: a function of Triton's.
        grid: how many programs of it, by axis.
        arguments: its own; the first is a tensor.
        options: its constants, and Triton's options.
    """
    if isinstance(arguments[0], torch.Tensor) and not arguments[0].is_meta:
        kernel[grid](*arguments, **options)
