"""Dropout that draws its mask from a seed of the step, so that it keeps none.

A mask is a function of the step's seed, the module, which of its calls in a pass it is, and the element. Nothing is
stored for the backward pass; gradient checkpointing finds the same mask again when it runs a block twice, also inside a
CUDA graph, where PyTorch's random state cannot be restored; and a CPU draws four elements from each random number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from tuneoff.training.kernels.dropout_torch import random_words

LEVELS = 1 << 16
STRIDE = 1_000_003
"""Between the salts of two modules, so that neighbouring steps and modules share no stream."""
RANK_STRIDE = 1 << 28
"""Between the seeds of two processes of a run: more than steps and salts add, and inside the 32 bits a CPU looks at."""


class Calls:
    """How often each module has been called in a forward pass, so that layers that are used twice drop twice.

    It is counted on the host. A CUDA graph repeats what was counted when it was captured, which is right: the calls of
    a pass are the same each time.
    """

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}

    def next(self, module: nn.Module) -> int:
        """How often a module was called before in this pass; it counts as called from then on."""
        before = self._counts.get(module, 0)
        self._counts[module] = before + 1
        return before

    def start(self, *_hooked: Any) -> None:
        """A forward pass begins; also a hook."""
        self._counts.clear()

    def checkpointed(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """For `torch.utils.checkpoint`: when a block is computed again, its modules count from where they had been."""
        return nullcontext(), self._as_now(dict(self._counts))

    @contextmanager
    def _as_now(self, counts: dict[Any, int]) -> Iterator[None]:
        outside, self._counts = self._counts, dict(counts)
        try:
            yield
        finally:
            self._counts = outside


class Dropout(nn.Module):
    """Like `torch.nn.Dropout`, with masks that can be drawn again.

    On a CPU, and without our kernel, the probability is rounded to a multiple of 1/65,536.

    Args:
        p: probability of dropping an element.
        seed: shape (), int64, on the device of the inputs; its owner changes it between steps.
        salt: tells modules with the same seed apart.
        calls: of the model's modules; without it, every call drops the same elements.
        stride: what each further call in a pass adds to the salt.
        fused: whether a CUDA device draws and drops in a kernel of ours, or by PyTorch's operations.
    """

    def __init__(
        self,
        p: float,
        seed: torch.Tensor,
        salt: int,
        calls: Calls | None = None,
        stride: int = 1,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.p = p
        self.seed = seed
        self.salt = salt
        self.fused = fused
        self.stride = stride
        self._calls = calls

    def next_salt(self) -> int:
        """That of the next mask, before `STRIDE`; each call in a pass has another."""
        return self.salt if self._calls is None else self.salt + self._calls.next(self) * self.stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drops elements of `x` while training; any shape, the same shape back."""
        if not self.training or self.p == 0.0:
            return x
        if torch.compiler.is_compiling():  # which fuses PyTorch's own with its neighbours
            return nn.functional.dropout(x, self.p)
        dropped: torch.Tensor = _Dropped.apply(  # type: ignore[no-untyped-call]
            x, self.seed, self.next_salt(), self.p, self.fused
        )
        return dropped


def own_dropout(model: nn.Module, device: torch.device, calls: Calls | None = None, fused: bool = True) -> torch.Tensor:
    """Puts `Dropout` in the place of every `torch.nn.Dropout` of a model.

    Args:
        model: whose call begins a pass.
        device: of its inputs.
        calls: counts those of its modules; without it, every call of a module in a step drops the same elements.
        fused: as for `Dropout`.

    Returns:
        The seed that all of them share, drawn from PyTorch's CPU generator; to be changed before each step.
    """
    if calls is not None:
        model.register_forward_pre_hook(calls.start)
    seed = torch.randint(1 << 40, ()).to(device)
    replaced: list[Dropout] = []
    for path, module in model.named_modules():
        if "original_module" in path.split("."):
            continue  # peft's copy of a head's module as it was, which computes nothing, and must not shift the salts
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                replaced.append(Dropout(child.p, seed, len(replaced) + 1, calls, fused=fused).train(child.training))
                setattr(module, name, replaced[-1])
    for dropout in replaced:
        dropout.stride = len(replaced)  # so that no further call has the salt of another module
    return seed


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, seed: torch.Tensor, salt: int, p: float, fused: bool) -> torch.Tensor:
        ctx.options = (seed, salt, p, fused)
        return apply_mask(x, seed, salt, p, fused)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return apply_mask(gradients[0], *ctx.options), None, None, None, None


def apply_mask(x: torch.Tensor, seed: torch.Tensor, salt: int, p: float, fused: bool) -> torch.Tensor:
    """`x` with elements dropped with probability `p`, the same ones for a seed and a salt; the others scaled up."""
    if not x.is_cpu and fused:
        from tuneoff.training.kernels.dropout_triton import dropped

        return dropped(x, seed, salt * STRIDE, p)
    count = -(-x.numel() // 4)
    if not x.is_cpu:
        bits = random_words(count, seed + salt * STRIDE)
    else:
        generator = torch.Generator().manual_seed(int(seed) + salt * STRIDE)
        bits = torch.empty(count, dtype=torch.int64).random_(-(1 << 63), None, generator=generator)
    mask = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(p * LEVELS) - LEVELS // 2
    return x * mask * (1.0 / (1.0 - p))
