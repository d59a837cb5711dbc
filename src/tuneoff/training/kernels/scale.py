"""Activations times a vector, in one pass each way, the vector's gradient included. For CUDA devices."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.column_sums import vector_gradient
from tuneoff.training.kernels.launch import launch

ROWS, COLUMNS = 32, 128
"""A program's tile of tokens and features."""


# Triton reads annotations as types of the kernel's own, so this function has none.
@triton.jit  # type: ignore[untyped-decorator]
def _scale_forward(x, factors, out, rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    value = tl.load(x + row * width + column, mask=inside, other=0.0).to(tl.float32)
    value *= tl.load(factors + column, mask=column < width, other=0.0).to(tl.float32)
    tl.store(out + row * width + column, value, mask=inside)


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, factors)
        width = x.shape[-1]
        rows = x.numel() // width
        out = torch.empty_like(x)
        grid = (triton.cdiv(rows, ROWS), triton.cdiv(width, COLUMNS))
        launch(_scale_forward, grid, x, factors, out, rows, width, ROWS=ROWS, COLUMNS=COLUMNS)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, factors = ctx.saved_tensors
        width = x.shape[-1]
        gradient = gradients[0].reshape(-1, width).contiguous()
        d_x, d_factors = vector_gradient("product", gradient, x.view(-1, width), factors)
        return d_x.view(x.shape), d_factors


def scale(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """`x * factors`; shapes (..., width) and (width,)."""
    out: torch.Tensor = _Scale.apply(x, factors)  # type: ignore[no-untyped-call]
    return out
