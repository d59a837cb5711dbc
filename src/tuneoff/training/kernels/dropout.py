"""Dropout that draws its mask from a seed of the step, so that it keeps none.

A mask is a function of the step's seed, the module and the element. Nothing is stored for the backward pass;
gradient checkpointing finds the same mask again when it runs a block twice, also inside a CUDA graph, where
PyTorch's random state cannot be restored; and a CPU draws four elements from each random number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tuneoff.training.kernels.dropout_torch import random_words

LEVELS = 1 << 16
STRIDE = 1_000_003
"""Between the salts of two modules, so that neighbouring steps and modules share no stream."""
RANK_STRIDE = 1 << 28
"""Between the seeds of two processes of a run: more than steps and salts add, and inside the 32 bits a CPU looks at."""


class Dropout(nn.Module):
    """Like `torch.nn.Dropout`, for modules that are called once a step (called again, they drop the same elements).

    On a CPU, and without our kernel, the probability is rounded to a multiple of 1/65,536.

    Args:
        p: probability of dropping an element.
        seed: shape (), int64, on the device of the inputs; its owner changes it between steps.
        salt: tells modules with the same seed apart.
        fused: whether a CUDA device draws and drops in a kernel of ours, or by PyTorch's operations.
    """

    def __init__(self, p: float, seed: torch.Tensor, salt: int, fused: bool = True) -> None:
        super().__init__()
        self.p = p
        self.seed = seed
        self.salt = salt
        self.fused = fused

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drops elements of `x` while training; any shape, the same shape back."""
        if not self.training or self.p == 0.0:
            return x
        if torch.compiler.is_compiling():  # which fuses PyTorch's own with its neighbours
            return nn.functional.dropout(x, self.p)
        dropped: torch.Tensor = _Dropped.apply(  # type: ignore[no-untyped-call]
            x, self.seed, self.salt, self.p, self.fused
        )
        return dropped


def own_dropout(model: nn.Module, device: torch.device, fused: bool = True) -> torch.Tensor:
    """Puts `Dropout` in the place of every `torch.nn.Dropout` of a model; `fused` as there.

    Returns:
        The seed that all of them share, drawn from PyTorch's CPU generator; to be changed before each step.
    """
    seed = torch.randint(1 << 40, ()).to(device)
    salt = 0
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                salt += 1
                setattr(module, name, Dropout(child.p, seed, salt, fused).train(child.training))
    return seed


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, seed: torch.Tensor, salt: int, p: float, fused: bool) -> torch.Tensor:
        ctx.options = (seed, salt, p, fused)
        return _apply_mask(x, seed, salt, p, fused)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _apply_mask(gradients[0], *ctx.options), None, None, None, None


def _apply_mask(x: torch.Tensor, seed: torch.Tensor, salt: int, p: float, fused: bool) -> torch.Tensor:
    if x.is_cuda and fused:
        from tuneoff.training.kernels.dropout_triton import dropped

        return dropped(x, seed, salt * STRIDE, p)
    count = -(-x.numel() // 4)
    if x.is_cuda:
        bits = random_words(count, seed + salt * STRIDE)
    else:
        generator = torch.Generator().manual_seed(int(seed) + salt * STRIDE)
        bits = torch.empty(count, dtype=torch.int64).random_(-(1 << 63), None, generator=generator)
    mask = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(p * LEVELS) - LEVELS // 2
    return x * mask * (1.0 / (1.0 - p))
