"""A residual addition and the normalisation that reads its sum, in one pass each way. For CUDA devices.

Blocks of decoders and of ModernBERT normalise what goes into a layer and leave the residual stream as it is: so a sum
goes on in two ways, into the normalisation and past the layer. A row is read and written once. Sums over tokens are
made in two stages, as in `column_sums`.

Source: Zhang and Sennrich 2019 (Root mean square layer normalization); Ba et al. 2016 (Layer normalization).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.column_sums import fold
from tuneoff.training.kernels.launch import launch

BACKWARD_PROGRAMS = 6 * 132
"""Six for each multiprocessor of an H100 or H200. They share out the rows, so that there are few partial sums."""


class Normalisation(NamedTuple):
    """What rows are normalised by.

    Attributes:
        gain: shape (width,).
        shift: shape (width,), or None.
        epsilon: added to the mean square.
        centred: whether the row's mean is taken off first (layer normalisation, not that by the root mean square).
        gain_offset: what is added to the gain (Gemma's weights count from one).
    """

    gain: torch.Tensor
    shift: torch.Tensor | None
    epsilon: float
    centred: bool
    gain_offset: float = 0.0


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _pre_norm_forward(  # type: ignore[no-untyped-def]
    hidden, residual, gain, shift, out, total, statistics, epsilon, gain_offset,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ADDED: tl.constexpr, CENTRED: tl.constexpr,  # noqa: N803
    SHIFTED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """What is normalised is the sum as it is stored, rounded. The mean is taken off before squaring."""
    row = tl.program_id(0).to(tl.int64)  # rows times widths pass 2^31
    column = tl.arange(0, BLOCK)
    inside = column < WIDTH
    place = row * WIDTH + column
    value = tl.load(hidden + place, mask=inside, other=0.0).to(tl.float32)
    if ADDED:
        value += tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
        rounded = value.to(total.dtype.element_ty)
        tl.store(total + place, rounded, mask=inside)
        value = rounded.to(tl.float32)
    if CENTRED:
        mean = tl.sum(value) / WIDTH
        tl.store(statistics + 2 * row + 1, mean)
        value = tl.where(inside, value - mean, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(value * value) / WIDTH + epsilon)
    tl.store(statistics + 2 * row, rstd)
    value *= rstd * (tl.load(gain + column, mask=inside, other=0.0).to(tl.float32) + gain_offset)
    if SHIFTED:
        value += tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, value, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _pre_norm_backward(  # type: ignore[no-untyped-def]
    gradients, d_past, total, statistics, gain, d_total, partial_sums, gain_offset, rows,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, CENTRED: tl.constexpr, SHIFTED: tl.constexpr,  # noqa: N803
    PAST: tl.constexpr, TRAINED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """The normalised row is made anew from what went into it. `d_past` is the gradient of the sum that went past."""
    program, programs = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    column = tl.arange(0, BLOCK)
    inside = column < WIDTH
    weight = tl.load(gain + column, mask=inside, other=0.0).to(tl.float32) + gain_offset
    d_gain = tl.zeros((BLOCK,), tl.float32)
    d_shift = tl.zeros((BLOCK,), tl.float32)
    for row in range(program, rows, programs):
        place = row * WIDTH + column
        gradient = tl.load(gradients + place, mask=inside, other=0.0).to(tl.float32)
        normal = tl.load(total + place, mask=inside, other=0.0).to(tl.float32)
        rstd = tl.load(statistics + 2 * row)
        if CENTRED:
            normal = tl.where(inside, normal - tl.load(statistics + 2 * row + 1), 0.0)
        normal *= rstd
        d_normal = gradient * weight
        change = normal * (tl.sum(normal * d_normal) / WIDTH)
        if CENTRED:
            change += tl.sum(tl.where(inside, d_normal, 0.0)) / WIDTH
        value = (d_normal - change) * rstd
        if PAST:
            value += tl.load(d_past + place, mask=inside, other=0.0).to(tl.float32)
        tl.store(d_total + place, value, mask=inside)
        if TRAINED:
            d_gain += gradient * normal
            if SHIFTED:
                d_shift += gradient
    if TRAINED:
        if SHIFTED:
            sums = partial_sums + program * (2 * WIDTH)
            tl.store(sums + column, d_gain, mask=inside)
            tl.store(sums + WIDTH + column, d_shift, mask=inside)
        else:
            tl.store(partial_sums + program * WIDTH + column, d_gain, mask=inside)


class _PreNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        residual: torch.Tensor | None,
        gain: torch.Tensor,
        shift: torch.Tensor | None,
        epsilon: float,
        centred: bool,
        gain_offset: float,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        hidden = hidden.contiguous()
        residual = None if residual is None else residual.contiguous()
        width = hidden.shape[-1]
        rows = hidden.numel() // width
        out = torch.empty_like(hidden)
        total = hidden if residual is None else torch.empty_like(hidden)
        statistics = torch.empty(rows, 2, device=hidden.device, dtype=torch.float32)
        block = triton.next_power_of_2(width)
        ctx.constants = {"WIDTH": width, "BLOCK": block, "CENTRED": centred, "SHIFTED": shift is not None}
        ctx.warps = min(8, max(1, block // 256))
        ctx.gain_offset = gain_offset
        launch(
            _pre_norm_forward, (rows,),
            hidden, residual, gain, shift, out, total, statistics, epsilon, gain_offset,
            ADDED=residual is not None, **ctx.constants, num_warps=ctx.warps,
        )  # fmt: skip
        ctx.save_for_backward(total, statistics, gain)
        ctx.set_materialize_grads(False)
        return out, None if residual is None else total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        gradient, d_past = gradients
        if gradient is None:  # nothing reads what was normalised
            return d_past, d_past, None, None, None, None, None
        total, statistics, gain = ctx.saved_tensors
        gradient, d_past = gradient.contiguous(), None if d_past is None else d_past.contiguous()
        rows, width, shifted = statistics.shape[0], gain.shape[0], ctx.constants["SHIFTED"]
        d_total = torch.empty_like(total)
        programs = min(rows, BACKWARD_PROGRAMS)
        trained = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
        partial_sums = torch.empty(
            programs if trained else 0, width * (2 if shifted else 1), device=total.device, dtype=torch.float32
        )
        launch(
            _pre_norm_backward, (programs,),
            gradient, d_past, total, statistics, gain, d_total, partial_sums, ctx.gain_offset, rows,
            PAST=d_past is not None, TRAINED=trained, **ctx.constants, num_warps=ctx.warps,
        )  # fmt: skip
        d_gain = d_shift = None
        if trained:
            sums = fold(partial_sums, gain.dtype)
            d_gain, d_shift = sums[:width], sums[width:] if shifted else None
        return d_total, d_total if ctx.needs_input_grad[1] else None, d_gain, d_shift, None, None, None


def pre_norm(hidden: torch.Tensor, by: Normalisation) -> torch.Tensor:
    """Rows normalised; shape (..., width), the same shape back."""
    out: torch.Tensor = _PreNorm.apply(  # type: ignore[no-untyped-call]
        hidden, None, by.gain, by.shift, by.epsilon, by.centred, by.gain_offset
    )[0]
    return out


def residual_pre_norm(
    hidden: torch.Tensor, residual: torch.Tensor, by: Normalisation
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of a layer's result and the residual stream, normalised and as it is; shapes (..., width)."""
    out: tuple[torch.Tensor, torch.Tensor] = _PreNorm.apply(  # type: ignore[no-untyped-call]
        hidden, residual, by.gain, by.shift, by.epsilon, by.centred, by.gain_offset
    )
    return out
