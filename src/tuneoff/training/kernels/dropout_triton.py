"""Seeded dropout as a Triton kernel (Philox, four elements a draw). Imported on CUDA devices only."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.launch import launch

BLOCK = 512


# Triton reads annotations as types of the kernel's own, so these two functions have none.
@triton.jit
def _drop_quarter(x, out, offsets, size, draw, p, scale):  # type: ignore[no-untyped-def]
    inside = offsets < size
    value = tl.load(x + offsets, mask=inside).to(tl.float32)
    tl.store(out + offsets, tl.where(draw >= p, value * scale, 0.0), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _drop(x, out, seed, salt, size, p, scale, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    lane = tl.arange(0, BLOCK)
    draw_a, draw_b, draw_c, draw_d = tl.rand4x(tl.load(seed) + salt, tl.program_id(0) * BLOCK + lane)
    offsets = tl.program_id(0) * (4 * BLOCK) + lane
    _drop_quarter(x, out, offsets, size, draw_a, p, scale)
    _drop_quarter(x, out, offsets + BLOCK, size, draw_b, p, scale)
    _drop_quarter(x, out, offsets + 2 * BLOCK, size, draw_c, p, scale)
    _drop_quarter(x, out, offsets + 3 * BLOCK, size, draw_d, p, scale)


def dropped(x: torch.Tensor, seed: torch.Tensor, salt: int, p: float) -> torch.Tensor:
    """`x` with elements dropped with probability `p` and the others scaled by 1 / (1 - p).

    Args:
        x: any shape.
        seed: shape (), int64, on the same device; read when the kernel runs, so that a CUDA graph sees its changes.
        salt: added to the seed.
        p: probability of dropping an element.
    """
    x = x.contiguous()
    out = torch.empty_like(x)
    grid = (triton.cdiv(x.numel(), 4 * BLOCK),)
    launch(_drop, grid, x, out, seed, salt, x.numel(), p, 1.0 / (1.0 - p), BLOCK=BLOCK)
    return out
