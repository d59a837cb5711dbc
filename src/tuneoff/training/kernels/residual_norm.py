"""The residual block's end in one pass each way: bias, dropout, residual, layer normalisation. For CUDA devices.

A row is read and written once, where PyTorch's operations would go over it several times. It is held in quarters, since
Philox gives four words a draw: one for the same element of each quarter. Sums over tokens are made in two stages, as in
`column_sums`: each program sums its rows in float32 and stores that, then partial sums are added up.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.column_sums import fold
from tuneoff.training.kernels.dropout import STRIDE, Dropout
from tuneoff.training.kernels.launch import launch

BACKWARD_PROGRAMS = 6 * 132
"""Six for each multiprocessor of an H100 or H200. They share out the rows, so that there are few partial sums."""
WARPS = 2
"""Few, since a row has some hundred elements; many rows at once hide the wait for memory."""


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _load_pre_norm(  # type: ignore[no-untyped-def]
    hidden, bias, residual, base, column, inside, draw, p, scale, BIASED: tl.constexpr, DROP: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """A quarter of a row before normalisation: residual + dropout(hidden + bias), rounded as it is stored."""
    value = tl.load(hidden + base + column, mask=inside, other=0.0).to(tl.float32)
    if BIASED:
        value += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    if DROP:
        value = tl.where(draw >= p, value * scale, 0.0)
    value += tl.load(residual + base + column, mask=inside, other=0.0).to(tl.float32)
    return value.to(hidden.dtype.element_ty).to(tl.float32)


@triton.jit
def _affine(value, mean, rstd, gain, shift, column, inside):  # type: ignore[no-untyped-def]
    weight = tl.load(gain + column, mask=inside, other=0.0).to(tl.float32)
    return (value - mean) * rstd * weight + tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _norm_forward(  # type: ignore[no-untyped-def]
    hidden, bias, residual, gain, shift, out, pre_norm, mean_rstd, seed, salt, p, scale, epsilon,
    QUARTER: tl.constexpr, BLOCK: tl.constexpr, BIASED: tl.constexpr, DROP: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """The mean is taken off before squaring: E[x^2] - E[x]^2 would lose digits where the mean is large."""
    row = tl.program_id(0)
    lane = tl.arange(0, BLOCK)
    inside = lane < QUARTER
    base = row * (4 * QUARTER)
    ca, cb, cc, cd = lane, lane + QUARTER, lane + 2 * QUARTER, lane + 3 * QUARTER
    draw_a, draw_b, draw_c, draw_d = 0.0, 0.0, 0.0, 0.0
    if DROP:
        draw_a, draw_b, draw_c, draw_d = tl.rand4x(tl.load(seed) + salt, row * BLOCK + lane, n_rounds=7)
    a = _load_pre_norm(hidden, bias, residual, base, ca, inside, draw_a, p, scale, BIASED, DROP)
    b = _load_pre_norm(hidden, bias, residual, base, cb, inside, draw_b, p, scale, BIASED, DROP)
    c = _load_pre_norm(hidden, bias, residual, base, cc, inside, draw_c, p, scale, BIASED, DROP)
    d = _load_pre_norm(hidden, bias, residual, base, cd, inside, draw_d, p, scale, BIASED, DROP)
    mean = tl.sum(a + b + c + d) / (4 * QUARTER)
    centred_a, centred_b, centred_c, centred_d = a - mean, b - mean, c - mean, d - mean
    squares = centred_a * centred_a + centred_b * centred_b + centred_c * centred_c + centred_d * centred_d
    squares = tl.where(inside, squares, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(squares) / (4 * QUARTER) + epsilon)
    tl.store(pre_norm + base + ca, a, mask=inside)
    tl.store(pre_norm + base + cb, b, mask=inside)
    tl.store(pre_norm + base + cc, c, mask=inside)
    tl.store(pre_norm + base + cd, d, mask=inside)
    tl.store(mean_rstd + 2 * row, mean)
    tl.store(mean_rstd + 2 * row + 1, rstd)
    tl.store(out + base + ca, _affine(a, mean, rstd, gain, shift, ca, inside), mask=inside)
    tl.store(out + base + cb, _affine(b, mean, rstd, gain, shift, cb, inside), mask=inside)
    tl.store(out + base + cc, _affine(c, mean, rstd, gain, shift, cc, inside), mask=inside)
    tl.store(out + base + cd, _affine(d, mean, rstd, gain, shift, cd, inside), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _quarter_gradient(values, gradients, d_past, base, column, inside, mean, rstd, weight, HAS_PAST: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Of a quarter of a row: the normalised values, the gradient of the output, and that of the normalised values."""
    normal = (tl.load(values + base + column, mask=inside, other=0.0).to(tl.float32) - mean) * rstd
    gradient = tl.load(gradients + base + column, mask=inside, other=0.0).to(tl.float32)
    if HAS_PAST:
        gradient += tl.load(d_past + base + column, mask=inside, other=0.0).to(tl.float32)
    return tl.where(inside, normal, 0.0), gradient, gradient * weight


@triton.jit  # type: ignore[untyped-decorator]
def _store_gradients(d_residual, d_hidden, offsets, inside, value, draw, p, scale, DROP: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    tl.store(d_residual + offsets, value, mask=inside)
    if DROP:
        value = tl.where(draw >= p, value * scale, 0.0)
        tl.store(d_hidden + offsets, value, mask=inside)
    return value


@triton.jit  # type: ignore[untyped-decorator]
def _norm_backward(  # type: ignore[no-untyped-def]
    gradients, d_past, pre_norm, mean_rstd, gain, d_residual, d_hidden, partial_sums, seed, salt, p, scale, rows,
    QUARTER: tl.constexpr, BLOCK: tl.constexpr, DROP: tl.constexpr, TRAINED: tl.constexpr,  # noqa: N803
    HAS_PAST: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """The normalised row is made anew from what went into it, and the mask is drawn again: neither was stored.

    `d_past` are gradients that are added to `gradients`.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    lane = tl.arange(0, BLOCK)
    inside = lane < QUARTER
    ca, cb, cc, cd = lane, lane + QUARTER, lane + 2 * QUARTER, lane + 3 * QUARTER
    wa = tl.load(gain + ca, mask=inside, other=0.0).to(tl.float32)
    wb = tl.load(gain + cb, mask=inside, other=0.0).to(tl.float32)
    wc = tl.load(gain + cc, mask=inside, other=0.0).to(tl.float32)
    wd = tl.load(gain + cd, mask=inside, other=0.0).to(tl.float32)
    zero = tl.zeros((BLOCK,), tl.float32)
    dgain_a, dgain_b, dgain_c, dgain_d = zero, zero, zero, zero
    dshift_a, dshift_b, dshift_c, dshift_d = zero, zero, zero, zero
    dbias_a, dbias_b, dbias_c, dbias_d = zero, zero, zero, zero
    for row in range(program, rows, programs):
        base = row * (4 * QUARTER)
        mean, rstd = tl.load(mean_rstd + 2 * row), tl.load(mean_rstd + 2 * row + 1)
        normal_a, dy_a, dnormal_a = _quarter_gradient(
            pre_norm, gradients, d_past, base, ca, inside, mean, rstd, wa, HAS_PAST
        )
        normal_b, dy_b, dnormal_b = _quarter_gradient(
            pre_norm, gradients, d_past, base, cb, inside, mean, rstd, wb, HAS_PAST
        )
        normal_c, dy_c, dnormal_c = _quarter_gradient(
            pre_norm, gradients, d_past, base, cc, inside, mean, rstd, wc, HAS_PAST
        )
        normal_d, dy_d, dnormal_d = _quarter_gradient(
            pre_norm, gradients, d_past, base, cd, inside, mean, rstd, wd, HAS_PAST
        )
        products = normal_a * dnormal_a + normal_b * dnormal_b + normal_c * dnormal_c + normal_d * dnormal_d
        projection = tl.sum(products) / (4 * QUARTER)
        mean_gradient = tl.sum(dnormal_a + dnormal_b + dnormal_c + dnormal_d) / (4 * QUARTER)
        draw_a, draw_b, draw_c, draw_d = 0.0, 0.0, 0.0, 0.0
        if DROP:
            draw_a, draw_b, draw_c, draw_d = tl.rand4x(tl.load(seed) + salt, row * BLOCK + lane, n_rounds=7)
        dx_a = (dnormal_a - normal_a * projection - mean_gradient) * rstd
        dx_b = (dnormal_b - normal_b * projection - mean_gradient) * rstd
        dx_c = (dnormal_c - normal_c * projection - mean_gradient) * rstd
        dx_d = (dnormal_d - normal_d * projection - mean_gradient) * rstd
        dx_a = _store_gradients(d_residual, d_hidden, base + ca, inside, dx_a, draw_a, p, scale, DROP)
        dx_b = _store_gradients(d_residual, d_hidden, base + cb, inside, dx_b, draw_b, p, scale, DROP)
        dx_c = _store_gradients(d_residual, d_hidden, base + cc, inside, dx_c, draw_c, p, scale, DROP)
        dx_d = _store_gradients(d_residual, d_hidden, base + cd, inside, dx_d, draw_d, p, scale, DROP)
        if TRAINED:
            dgain_a, dgain_b, dgain_c, dgain_d = (
                dgain_a + dy_a * normal_a,
                dgain_b + dy_b * normal_b,
                dgain_c + dy_c * normal_c,
                dgain_d + dy_d * normal_d,
            )
            dshift_a, dshift_b, dshift_c, dshift_d = dshift_a + dy_a, dshift_b + dy_b, dshift_c + dy_c, dshift_d + dy_d
            dbias_a, dbias_b, dbias_c, dbias_d = dbias_a + dx_a, dbias_b + dx_b, dbias_c + dx_c, dbias_d + dx_d
    if TRAINED:
        sums = partial_sums + program * (12 * QUARTER)
        tl.store(sums + ca, dgain_a, mask=inside)
        tl.store(sums + cb, dgain_b, mask=inside)
        tl.store(sums + cc, dgain_c, mask=inside)
        tl.store(sums + cd, dgain_d, mask=inside)
        sums += 4 * QUARTER
        tl.store(sums + ca, dshift_a, mask=inside)
        tl.store(sums + cb, dshift_b, mask=inside)
        tl.store(sums + cc, dshift_c, mask=inside)
        tl.store(sums + cd, dshift_d, mask=inside)
        sums += 4 * QUARTER
        tl.store(sums + ca, dbias_a, mask=inside)
        tl.store(sums + cb, dbias_b, mask=inside)
        tl.store(sums + cc, dbias_c, mask=inside)
        tl.store(sums + cd, dbias_d, mask=inside)


class _ResidualNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        bias: torch.Tensor | None,
        residual: torch.Tensor,
        gain: torch.Tensor,
        shift: torch.Tensor,
        epsilon: float,
        seed: torch.Tensor,
        salt: int,
        p: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, residual = hidden.contiguous(), residual.contiguous()
        width = hidden.shape[-1]
        rows = hidden.numel() // width
        out, pre_norm = torch.empty_like(hidden), torch.empty_like(hidden)
        mean_rstd = torch.empty(rows, 2, device=hidden.device, dtype=torch.float32)
        ctx.constants = {"QUARTER": width // 4, "BLOCK": triton.next_power_of_2(width // 4), "DROP": p > 0}
        ctx.dropout = (seed, salt, p, 1.0 / (1.0 - p))
        launch(
            _norm_forward, (rows,),
            hidden, bias, residual, gain, shift, out, pre_norm, mean_rstd, *ctx.dropout, epsilon,
            BIASED=bias is not None, **ctx.constants, num_warps=WARPS,
        )  # fmt: skip
        ctx.save_for_backward(pre_norm, mean_rstd, gain)
        ctx.set_materialize_grads(False)
        # Not a view, which would hold `out`, which will hold it.
        past = torch.empty(0, device=out.device, dtype=out.dtype)
        return out, past.set_(out.untyped_storage(), 0, out.shape, out.stride())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        pre_norm, mean_rstd, gain = ctx.saved_tensors
        gradient, *d_past = (given.contiguous() for given in gradients if given is not None)
        rows, width = mean_rstd.shape[0], gain.shape[0]
        d_residual = torch.empty_like(pre_norm)
        d_hidden = torch.empty_like(pre_norm) if ctx.constants["DROP"] else d_residual
        programs = min(rows, BACKWARD_PROGRAMS)
        bias_trained = ctx.needs_input_grad[1]
        trained = ctx.needs_input_grad[3] or ctx.needs_input_grad[4]  # a method may train the biases alone
        partial_sums = torch.empty(programs if trained or bias_trained else 0, 3 * width, device=pre_norm.device)
        launch(
            _norm_backward, (programs,),
            gradient, d_past[0] if d_past else None, pre_norm, mean_rstd, gain, d_residual, d_hidden, partial_sums,
            *ctx.dropout, rows, TRAINED=trained or bias_trained, HAS_PAST=bool(d_past), **ctx.constants,
            num_warps=WARPS,
        )  # fmt: skip
        d_gain = d_shift = d_bias = None
        if trained or bias_trained:
            sums = fold(partial_sums, gain.dtype).view(3, width)
            d_gain, d_shift = (sums[0], sums[1]) if trained else (None, None)
            d_bias = sums[2] if bias_trained else None
        return d_hidden, d_bias, d_residual, d_gain, d_shift, None, None, None, None


def residual_norm(
    hidden: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor,
    gain: torch.Tensor,
    shift: torch.Tensor,
    epsilon: float,
    dropout: Dropout,
) -> torch.Tensor:
    """Layer normalisation of `residual + dropout(hidden + bias)`; shape (..., width), width a multiple of 4.

    The mask is drawn from the dropout module's seed and salt, so that it is the same when a block is recomputed.

    The result goes on in two ways: into a layer, and past it as the next `residual`. That it reaches the next call of
    this function under another name (its attribute `past`) lets the two gradients be added up where they are read.
    """
    p = dropout.p if dropout.training else 0.0
    salt = dropout.next_salt() * STRIDE if p > 0.0 else 0
    out, past = _ResidualNorm.apply(  # type: ignore[no-untyped-call]
        hidden, bias, getattr(residual, "past", residual), gain, shift, epsilon, dropout.seed, salt, p
    )
    out.past = past
    assert isinstance(out, torch.Tensor)
    return out
