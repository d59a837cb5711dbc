"""Dropout whose masks can be replayed, and which is quick on a CPU.

Gradient checkpointing runs a block twice and must drop the same activations both times. PyTorch does that by
restoring the random state, which a CUDA graph cannot; here the masks themselves are kept, one byte an element.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

LEVELS = 1 << 16

_tape: list[torch.Tensor] | None = None
_replaying = False


class Dropout(nn.Module):
    """Like `torch.nn.Dropout`.

    On a CPU the probability is rounded to a multiple of 1/65,536, and four masks come from each random 64-bit
    number, which takes a quarter of the time of PyTorch's one draw an element.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drops elements of `x` with probability `p` while training; any shape, the same shape back."""
        if not self.training or self.p == 0.0:
            return x
        if _tape is not None and _replaying:
            return _masked(x, _tape.pop(0), self.p)
        if x.is_cuda:
            out, mask = torch.native_dropout(x, self.p, True)
        else:
            mask = _random_mask(x.shape, self.p)
            out = _masked(x, mask, self.p)
        if _tape is not None:
            _tape.append(mask)
        return out


def replace_dropout(model: nn.Module) -> None:
    """Puts `Dropout` in the place of every `torch.nn.Dropout` of a model."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))


def checkpointing_options() -> dict[str, object]:
    """Options of `torch.utils.checkpoint.checkpoint` under which `Dropout` repeats its masks."""
    return {"use_reentrant": False, "preserve_rng_state": False, "context_fn": _contexts}


def _contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    masks: list[torch.Tensor] = []
    return _taping(masks, replaying=False), _taping(masks, replaying=True)


@contextmanager
def _taping(masks: list[torch.Tensor], replaying: bool) -> Iterator[None]:
    global _tape, _replaying
    before = (_tape, _replaying)
    _tape, _replaying = masks, replaying
    try:
        yield
    finally:
        _tape, _replaying = before


def _masked(x: torch.Tensor, mask: torch.Tensor, p: float) -> torch.Tensor:
    return x * mask * (1.0 / (1.0 - p))


def _random_mask(shape: torch.Size, p: float) -> torch.Tensor:
    count = shape.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(1 << 63), None)
    return bits.view(torch.int16)[:count].view(shape) >= _threshold(p)


@functools.cache
def _threshold(p: float) -> int:
    return round(p * LEVELS) - LEVELS // 2
