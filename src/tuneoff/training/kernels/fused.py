"""Kernels that read and write activations once where PyTorch's would several times. Imported on CUDA devices only.

Sums over tokens (gradients of biases, of normalisation) are made in two stages: programs sum their share of the rows
in float32, then the shares are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.dropout import STRIDE, Dropout

ROWS, COLUMNS = 32, 128
"""A tile of the kernels that go over a matrix of tokens and features."""
SHARE_ROWS, SHARE_COLUMNS = 64, 64
"""A tile of those that also sum over tokens; the sums of a tile are one share."""
NORM_PROGRAMS = 6 * 132
NORM_WARPS = 2
FOLD_ROWS, FOLD_COLUMNS = 256, 16


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _mixed(hidden, bias, residual, base, column, inside, draw, p, scale, BIASED: tl.constexpr, DROP: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """A quarter of a row before normalisation: residual + dropout(hidden + bias), rounded as it is stored."""
    value = tl.load(hidden + base + column, mask=inside, other=0.0).to(tl.float32)
    if BIASED:
        value += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    if DROP:
        value = tl.where(draw >= p, value * scale, 0.0)
    value += tl.load(residual + base + column, mask=inside, other=0.0).to(tl.float32)
    return value.to(hidden.dtype.element_ty).to(tl.float32)


@triton.jit
def _scaled(value, mean, rstd, gain, shift, column, inside):  # type: ignore[no-untyped-def]
    weight = tl.load(gain + column, mask=inside, other=0.0).to(tl.float32)
    return (value - mean) * rstd * weight + tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _norm_forward(  # type: ignore[no-untyped-def]
    hidden, bias, residual, gain, shift, out, kept, moments, seed, salt, p, scale, epsilon,
    QUARTER: tl.constexpr, BLOCK: tl.constexpr, BIASED: tl.constexpr, DROP: tl.constexpr,  # noqa: N803
):  # fmt: skip
    row = tl.program_id(0)
    lane = tl.arange(0, BLOCK)
    inside = lane < QUARTER
    base = row * (4 * QUARTER)
    ca, cb, cc, cd = lane, lane + QUARTER, lane + 2 * QUARTER, lane + 3 * QUARTER
    da, db, dc, dd = 0.0, 0.0, 0.0, 0.0
    if DROP:
        da, db, dc, dd = tl.rand4x(tl.load(seed) + salt, row * BLOCK + lane, n_rounds=7)
    a = _mixed(hidden, bias, residual, base, ca, inside, da, p, scale, BIASED, DROP)
    b = _mixed(hidden, bias, residual, base, cb, inside, db, p, scale, BIASED, DROP)
    c = _mixed(hidden, bias, residual, base, cc, inside, dc, p, scale, BIASED, DROP)
    d = _mixed(hidden, bias, residual, base, cd, inside, dd, p, scale, BIASED, DROP)
    mean = tl.sum(a + b + c + d) / (4 * QUARTER)
    va, vb, vc, vd = a - mean, b - mean, c - mean, d - mean
    squares = tl.where(inside, va * va + vb * vb + vc * vc + vd * vd, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(squares) / (4 * QUARTER) + epsilon)
    tl.store(kept + base + ca, a, mask=inside)
    tl.store(kept + base + cb, b, mask=inside)
    tl.store(kept + base + cc, c, mask=inside)
    tl.store(kept + base + cd, d, mask=inside)
    tl.store(moments + 2 * row, mean)
    tl.store(moments + 2 * row + 1, rstd)
    tl.store(out + base + ca, _scaled(a, mean, rstd, gain, shift, ca, inside), mask=inside)
    tl.store(out + base + cb, _scaled(b, mean, rstd, gain, shift, cb, inside), mask=inside)
    tl.store(out + base + cc, _scaled(c, mean, rstd, gain, shift, cc, inside), mask=inside)
    tl.store(out + base + cd, _scaled(d, mean, rstd, gain, shift, cd, inside), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _quarter_gradient(values, gradients, further, base, column, inside, mean, rstd, weight, FURTHER: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Of a quarter of a row: the normalised values, the gradient of the output, and that of the normalised values."""
    normal = (tl.load(values + base + column, mask=inside, other=0.0).to(tl.float32) - mean) * rstd
    gradient = tl.load(gradients + base + column, mask=inside, other=0.0).to(tl.float32)
    if FURTHER:
        gradient += tl.load(further + base + column, mask=inside, other=0.0).to(tl.float32)
    return tl.where(inside, normal, 0.0), gradient, gradient * weight


@triton.jit  # type: ignore[untyped-decorator]
def _store_gradients(stream, hidden, place, inside, value, draw, p, scale, DROP: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    tl.store(stream + place, value, mask=inside)
    if DROP:
        value = tl.where(draw >= p, value * scale, 0.0)
        tl.store(hidden + place, value, mask=inside)
    return value


@triton.jit  # type: ignore[untyped-decorator]
def _norm_backward(  # type: ignore[no-untyped-def]
    gradients, further, kept, moments, gain, d_stream, d_hidden, shares, seed, salt, p, scale, rows,
    QUARTER: tl.constexpr, BLOCK: tl.constexpr, DROP: tl.constexpr, TRAINED: tl.constexpr,  # noqa: N803
    FURTHER: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """`further` are gradients that are added to `gradients`."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    lane = tl.arange(0, BLOCK)
    inside = lane < QUARTER
    ca, cb, cc, cd = lane, lane + QUARTER, lane + 2 * QUARTER, lane + 3 * QUARTER
    wa = tl.load(gain + ca, mask=inside, other=0.0).to(tl.float32)
    wb = tl.load(gain + cb, mask=inside, other=0.0).to(tl.float32)
    wc = tl.load(gain + cc, mask=inside, other=0.0).to(tl.float32)
    wd = tl.load(gain + cd, mask=inside, other=0.0).to(tl.float32)
    zero = tl.zeros((BLOCK,), tl.float32)
    ga, gb, gc, gd = zero, zero, zero, zero
    sa, sb, sc, sd = zero, zero, zero, zero
    ba, bb, bc, bd = zero, zero, zero, zero
    for row in range(program, rows, programs):
        base = row * (4 * QUARTER)
        mean, rstd = tl.load(moments + 2 * row), tl.load(moments + 2 * row + 1)
        xa, ya, na = _quarter_gradient(kept, gradients, further, base, ca, inside, mean, rstd, wa, FURTHER)
        xb, yb, nb = _quarter_gradient(kept, gradients, further, base, cb, inside, mean, rstd, wb, FURTHER)
        xc, yc, nc = _quarter_gradient(kept, gradients, further, base, cc, inside, mean, rstd, wc, FURTHER)
        xd, yd, nd = _quarter_gradient(kept, gradients, further, base, cd, inside, mean, rstd, wd, FURTHER)
        along = tl.sum(xa * na + xb * nb + xc * nc + xd * nd) / (4 * QUARTER)
        level = tl.sum(na + nb + nc + nd) / (4 * QUARTER)
        da, db, dc, dd = 0.0, 0.0, 0.0, 0.0
        if DROP:
            da, db, dc, dd = tl.rand4x(tl.load(seed) + salt, row * BLOCK + lane, n_rounds=7)
        ha = (na - xa * along - level) * rstd
        hb = (nb - xb * along - level) * rstd
        hc = (nc - xc * along - level) * rstd
        hd = (nd - xd * along - level) * rstd
        ha = _store_gradients(d_stream, d_hidden, base + ca, inside, ha, da, p, scale, DROP)
        hb = _store_gradients(d_stream, d_hidden, base + cb, inside, hb, db, p, scale, DROP)
        hc = _store_gradients(d_stream, d_hidden, base + cc, inside, hc, dc, p, scale, DROP)
        hd = _store_gradients(d_stream, d_hidden, base + cd, inside, hd, dd, p, scale, DROP)
        if TRAINED:
            ga, gb, gc, gd = ga + ya * xa, gb + yb * xb, gc + yc * xc, gd + yd * xd
            sa, sb, sc, sd = sa + ya, sb + yb, sc + yc, sd + yd
            ba, bb, bc, bd = ba + ha, bb + hb, bc + hc, bd + hd
    if TRAINED:
        place = shares + program * (12 * QUARTER)
        tl.store(place + ca, ga, mask=inside)
        tl.store(place + cb, gb, mask=inside)
        tl.store(place + cc, gc, mask=inside)
        tl.store(place + cd, gd, mask=inside)
        place += 4 * QUARTER
        tl.store(place + ca, sa, mask=inside)
        tl.store(place + cb, sb, mask=inside)
        tl.store(place + cc, sc, mask=inside)
        tl.store(place + cd, sd, mask=inside)
        place += 4 * QUARTER
        tl.store(place + ca, ba, mask=inside)
        tl.store(place + cb, bb, mask=inside)
        tl.store(place + cc, bc, mask=inside)
        tl.store(place + cd, bd, mask=inside)


@triton.jit
def _normal(x):  # type: ignore[no-untyped-def]
    """The standard normal's distribution function and exp(-x^2 / 2); the error is below 1e-7.

    One exponential serves both. Source: Abramowitz and Stegun 1964, 7.1.26.
    """
    bell = tl.exp(-0.5 * x * x)
    t = 1 / (1 + 0.23164190 * tl.abs(x))
    tail = 1.421413741 + t * (-1.453152027 + t * 1.061405429)
    tail = 0.5 * bell * t * (0.254829592 + t * (-0.284496736 + t * tail))
    return tl.where(x > 0, 1 - tail, tail), bell


@triton.jit  # type: ignore[untyped-decorator]
def _gelu_forward(hidden, bias, out, rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    x = tl.load(hidden + row * width + column, mask=inside, other=0.0).to(tl.float32)
    x += tl.load(bias + column, mask=column < width, other=0.0).to(tl.float32)
    below, _ = _normal(x)
    tl.store(out + row * width + column, x * below, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _scale_forward(x, factors, out, rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    value = tl.load(x + row * width + column, mask=inside, other=0.0).to(tl.float32)
    value *= tl.load(factors + column, mask=column < width, other=0.0).to(tl.float32)
    tl.store(out + row * width + column, value, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _column_shares(  # type: ignore[no-untyped-def]
    gradients, hidden, vector, d_hidden, shares, rows, width,
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
        below, bell = _normal(x)
        gradient *= below + x * 0.3989422804014327 * bell
        tl.store(d_hidden + row * width + column, gradient, mask=inside)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    tl.store(shares + tl.program_id(0) * width + column, tl.sum(gradient, axis=0), mask=column < width)


@triton.jit  # type: ignore[untyped-decorator]
def _fold(shares, out, count, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, count, ROWS):
        row = start + tl.arange(0, ROWS)[:, None]
        total += tl.load(shares + row * width + column, mask=(row < count) & (column < width), other=0.0)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    tl.store(out + column, tl.sum(total, axis=0), mask=column < width)


def _folded(shares: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Sum of the shares, shape (shares, width) to (width,)."""
    count, width = shares.shape
    out = torch.empty(width, device=shares.device, dtype=dtype)
    _fold[(triton.cdiv(width, FOLD_COLUMNS),)](
        shares, out, count, width, ROWS=FOLD_ROWS, COLUMNS=FOLD_COLUMNS, num_warps=8
    )
    return out


def _vector_gradient(
    through: str, gradients: torch.Tensor, hidden: torch.Tensor | None = None, vector: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of `hidden` and of `vector`, given that of their combination (see `_column_shares`).

    Args:
        through: "sum", "gelu" or "product".
        gradients: shape (rows, width).
        hidden: shape (rows, width); a sum needs none.
        vector: shape (width,); a sum needs none.
    """
    rows, width = gradients.shape
    grid = (triton.cdiv(rows, SHARE_ROWS), triton.cdiv(width, SHARE_COLUMNS))
    shares = torch.empty(grid[0], width, device=gradients.device, dtype=torch.float32)
    d_hidden = gradients if hidden is None else torch.empty_like(gradients)
    _column_shares[grid](
        gradients, hidden, vector, d_hidden, shares, rows, width,
        THROUGH=through, ROWS=SHARE_ROWS, COLUMNS=SHARE_COLUMNS,
    )  # fmt: skip
    return d_hidden, _folded(shares, gradients.dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return torch.nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0]).contiguous()
        d_x = (gradient @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        return d_x, gradient.t() @ x.reshape(-1, weight.shape[1]), _vector_gradient("sum", gradient)[1]


class _SharedLinear(torch.autograd.Function):
    """Linear layers of one input as one product in each direction.

    Joining the weights costs little beside it. The outputs lie side by side in one array, and so may their gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *parameters: torch.Tensor) -> tuple[torch.Tensor, ...]:
        weight, bias = torch.cat(parameters[::2]), torch.cat(parameters[1::2])
        ctx.save_for_backward(x, weight)
        ctx.widths = [part.shape[0] for part in parameters[::2]]
        return torch.nn.functional.linear(x, weight, bias).split(ctx.widths, dim=-1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = _joined([part.reshape(-1, part.shape[-1]) for part in gradients])
        d_x = (gradient @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        d_weights = (gradient.t() @ x.reshape(-1, x.shape[-1])).split(ctx.widths)
        d_biases = _vector_gradient("sum", gradient)[1].split(ctx.widths)
        return d_x, *(part for pair in zip(d_weights, d_biases, strict=True) for part in pair)


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    """Arrays of as many rows side by side, shape (rows, sum of widths); without a copy where they already lie so."""
    rows, width = parts[0].shape[0], sum(part.shape[1] for part in parts)
    if are_side_by_side(parts):
        return parts[0].as_strided((rows, width), (width, 1))
    return torch.cat(parts, dim=1)


def are_side_by_side(parts: Sequence[torch.Tensor]) -> bool:
    """Whether arrays of shape (rows, width) are the columns of one contiguous array, in this order."""
    first, width = parts[0], sum(part.shape[1] for part in parts)
    place = first.storage_offset()
    for part in parts:
        here = (part.untyped_storage().data_ptr(), part.storage_offset(), part.stride())
        if here != (first.untyped_storage().data_ptr(), place, (width, 1)):
            return False
        place += part.shape[1]
    return True


class _BiasGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        hidden = hidden.contiguous()
        ctx.save_for_backward(hidden, bias)
        width = hidden.shape[-1]
        rows = hidden.numel() // width
        out = torch.empty_like(hidden)
        grid = (triton.cdiv(rows, ROWS), triton.cdiv(width, COLUMNS))
        _gelu_forward[grid](hidden, bias, out, rows, width, ROWS=ROWS, COLUMNS=COLUMNS)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden, bias = ctx.saved_tensors
        width = hidden.shape[-1]
        gradient = gradients[0].reshape(-1, width).contiguous()
        d_hidden, d_bias = _vector_gradient("gelu", gradient, hidden.view(-1, width), bias)
        return d_hidden.view(hidden.shape), d_bias


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, factors)
        width = x.shape[-1]
        rows = x.numel() // width
        out = torch.empty_like(x)
        grid = (triton.cdiv(rows, ROWS), triton.cdiv(width, COLUMNS))
        _scale_forward[grid](x, factors, out, rows, width, ROWS=ROWS, COLUMNS=COLUMNS)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, factors = ctx.saved_tensors
        width = x.shape[-1]
        gradient = gradients[0].reshape(-1, width).contiguous()
        d_x, d_factors = _vector_gradient("product", gradient, x.view(-1, width), factors)
        return d_x.view(x.shape), d_factors


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
        out, kept = torch.empty_like(hidden), torch.empty_like(hidden)
        moments = torch.empty(rows, 2, device=hidden.device, dtype=torch.float32)
        ctx.shape = {"QUARTER": width // 4, "BLOCK": triton.next_power_of_2(width // 4), "DROP": p > 0}
        ctx.chance = (seed, salt, p, 1.0 / (1.0 - p))
        _norm_forward[(rows,)](
            hidden, bias, residual, gain, shift, out, kept, moments, *ctx.chance, epsilon,
            BIASED=bias is not None, **ctx.shape, num_warps=NORM_WARPS,
        )  # fmt: skip
        ctx.save_for_backward(kept, moments, gain)
        ctx.set_materialize_grads(False)
        # Not a view, which would hold `out`, which will hold it.
        past = torch.empty(0, device=out.device, dtype=out.dtype)
        return out, past.set_(out.untyped_storage(), 0, out.shape, out.stride())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        kept, moments, gain = ctx.saved_tensors
        gradient, *further = (part.contiguous() for part in gradients if part is not None)
        rows, width = moments.shape[0], gain.shape[0]
        d_stream = torch.empty_like(kept)
        d_hidden = torch.empty_like(kept) if ctx.shape["DROP"] else d_stream
        programs = min(rows, NORM_PROGRAMS)
        bias_trained, trained = ctx.needs_input_grad[1], ctx.needs_input_grad[3]
        shares = torch.empty(programs if trained or bias_trained else 0, 3 * width, device=kept.device)
        _norm_backward[(programs,)](
            gradient, further[0] if further else None, kept, moments, gain, d_stream, d_hidden, shares, *ctx.chance,
            rows, TRAINED=trained or bias_trained, FURTHER=bool(further), **ctx.shape, num_warps=NORM_WARPS,
        )  # fmt: skip
        d_gain = d_shift = d_bias = None
        if trained or bias_trained:
            sums = _folded(shares, gain.dtype).view(3, width)
            d_gain, d_shift = (sums[0], sums[1]) if trained else (None, None)
            d_bias = sums[2] if bias_trained else None
        return d_hidden, d_bias, d_stream, d_gain, d_shift, None, None, None, None


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """`torch.nn.functional.linear` with trained weight and bias, whose bias gradient is summed faster."""
    out: torch.Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


def shared_linear(x: torch.Tensor, layers: Sequence[torch.nn.Linear]) -> tuple[torch.Tensor, ...]:
    """What each of some linear layers with trained weights and biases makes of `x`."""
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    out: tuple[torch.Tensor, ...] = _SharedLinear.apply(x, *parameters)  # type: ignore[no-untyped-call]
    return out


def scale(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """`x * factors`; shapes (..., width) and (width,)."""
    out: torch.Tensor = _Scale.apply(x, factors)  # type: ignore[no-untyped-call]
    return out


def bias_gelu(hidden: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The exact GELU of `hidden + bias`; shape (..., width), the same shape back."""
    out: torch.Tensor = _BiasGelu.apply(hidden, bias)  # type: ignore[no-untyped-call]
    return out


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
