"""A bias and the exact GELU in one pass over activations each way, the bias gradient included. For CUDA devices."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.column_sums import vector_gradient
from tuneoff.training.kernels.gaussian import gaussian_cdf
from tuneoff.training.kernels.launch import launch

ROWS, COLUMNS = 32, 128
"""A program's tile of tokens and features."""


# Triton reads annotations as types of the kernel's own, so this function has none.
@triton.jit  # type: ignore[untyped-decorator]
def _gelu_forward(hidden, bias, out, rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    x = tl.load(hidden + row * width + column, mask=inside, other=0.0).to(tl.float32)
    x += tl.load(bias + column, mask=column < width, other=0.0).to(tl.float32)
    cdf, _ = gaussian_cdf(x)
    tl.store(out + row * width + column, x * cdf, mask=inside)


class _BiasGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        hidden = hidden.contiguous()
        ctx.save_for_backward(hidden, bias)
        width = hidden.shape[-1]
        rows = hidden.numel() // width
        out = torch.empty_like(hidden)
        grid = (triton.cdiv(rows, ROWS), triton.cdiv(width, COLUMNS))
        launch(_gelu_forward, grid, hidden, bias, out, rows, width, ROWS=ROWS, COLUMNS=COLUMNS)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden, bias = ctx.saved_tensors
        width = hidden.shape[-1]
        gradient = gradients[0].reshape(-1, width).contiguous()
        d_hidden, d_bias = vector_gradient("gelu", gradient, hidden.view(-1, width), bias)
        return d_hidden.view(hidden.shape), d_bias


def bias_gelu(hidden: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The exact GELU of `hidden + bias`; shape (..., width), the same shape back."""
    out: torch.Tensor = _BiasGelu.apply(hidden, bias)  # type: ignore[no-untyped-call]
    return out
