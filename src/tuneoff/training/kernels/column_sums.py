"""Sums over tokens: the gradients of vectors that all tokens share (biases, scales). For CUDA devices.

A column has as many addends as a batch has tokens, and there are too few columns to keep a GPU busy with one program
each. So they are summed in two stages: each program sums a tile of rows in float32 and stores that partial sum, then
partial sums are added up. Atomics would do it in one, but add in another order each time, and so give other bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.gaussian import gaussian_cdf
from tuneoff.training.kernels.launch import launch

TILE_ROWS, TILE_COLUMNS = 64, 64
"""A tile whose rows one program sums."""
FOLD_ROWS, FOLD_COLUMNS = 256, 16
"""A tile of partial sums; few columns, so that the second stage has programs enough."""


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _partial_column_sums(  # type: ignore[no-untyped-def]
    gradients, hidden, vector, d_hidden, partial_sums, rows, width,
    THROUGH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Sums of a tile's rows, column by column: a vector's gradient; and the gradient of what it was combined with.

    THROUGH says how: "sum" (hidden + vector, whose gradient is at hand), "gelu" (gelu(hidden + vector)) or
    "product" (hidden * vector).
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    gradient = tl.load(gradients + row * width + column, mask=inside, other=0.0).to(tl.float32)
    if THROUGH != "sum":
        x = tl.load(hidden + row * width + column, mask=inside, other=0.0).to(tl.float32)
        factor = tl.load(vector + column, mask=column < width, other=0.0).to(tl.float32)
        if THROUGH == "product":
            tl.store(d_hidden + row * width + column, gradient * factor, mask=inside)
            gradient *= x
    if THROUGH == "gelu":
        x += factor
        cdf, bell = gaussian_cdf(x)
        gradient *= cdf + x * 0.3989422804014327 * bell
        tl.store(d_hidden + row * width + column, gradient, mask=inside)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    tl.store(partial_sums + tl.program_id(0) * width + column, tl.sum(gradient, axis=0), mask=column < width)


@triton.jit  # type: ignore[untyped-decorator]
def _fold(partial_sums, out, count, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, count, ROWS):
        row = start + tl.arange(0, ROWS)[:, None]
        total += tl.load(partial_sums + row * width + column, mask=(row < count) & (column < width), other=0.0)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    tl.store(out + column, tl.sum(total, axis=0), mask=column < width)


def fold(partial_sums: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Their sum in `dtype`; shape (partial sums, width) to (width,)."""
    count, width = partial_sums.shape
    out = torch.empty(width, device=partial_sums.device, dtype=dtype)
    launch(
        _fold,
        (triton.cdiv(width, FOLD_COLUMNS),),
        partial_sums,
        out,
        count,
        width,
        ROWS=FOLD_ROWS,
        COLUMNS=FOLD_COLUMNS,
        num_warps=8,
    )
    return out


def vector_gradient(
    through: str, gradients: torch.Tensor, hidden: torch.Tensor | None = None, vector: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of `hidden` and of `vector`, given that of their combination (see `_partial_column_sums`).

    Args:
        through: "sum", "gelu" or "product".
        gradients: shape (rows, width).
        hidden: shape (rows, width); a sum needs none.
        vector: shape (width,); a sum needs none.
    """
    rows, width = gradients.shape
    grid = (triton.cdiv(rows, TILE_ROWS), triton.cdiv(width, TILE_COLUMNS))
    partial_sums = torch.empty(grid[0], width, device=gradients.device, dtype=torch.float32)
    d_hidden = gradients if hidden is None else torch.empty_like(gradients)
    launch(
        _partial_column_sums, grid,
        gradients, hidden, vector, d_hidden, partial_sums, rows, width,
        THROUGH=through, ROWS=TILE_ROWS, COLUMNS=TILE_COLUMNS,
    )  # fmt: skip
    return d_hidden, fold(partial_sums, gradients.dtype)
