"""Rotary positions of queries and keys, with the normalisation of each head before, in one kernel each way.

The heads of queries, keys and values of a token lie in one row, as a joint product makes them. Without normalisation
queries and keys are turned where they lie: to go back, gradients are turned the other way, for which nothing need be
kept. With it the rows before it are kept, and the turned ones lie in an array of their own. For CUDA devices.

Source: Su et al. 2021 (RoFormer), with the halves of a head as its pairs, as GPT-NeoX has them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.column_sums import fold
from tuneoff.training.kernels.launch import launch
from tuneoff.training.kernels.shared_linear import side_by_side

TILE_ELEMENTS = 2048
"""What a program turns at a time: as many heads of tokens as have so many elements."""
BACKWARD_PROGRAMS = 6 * 132
"""Where weights are trained: programs that share out the heads, so that there are few partial sums."""


class Heads(NamedTuple):
    """How a row is cut: heads of queries, of keys, and of values, and their width."""

    queries: int
    keys: int
    values: int
    size: int


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _places(  # type: ignore[no-untyped-def]
    index, count, tokens, stride, first_head, table_stride, HALF: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Of a tile of heads, counted over all tokens: where their first halves are, and their angles' in the tables."""
    head = index % count
    token = (index // count).to(tl.int64)  # tokens times strides pass 2^31
    column = tl.arange(0, HALF)[None, :]
    place = (token * stride + (first_head + head) * (2 * HALF))[:, None] + column
    angle = (token * table_stride)[:, None] + column
    return place, angle, (token < tokens)[:, None]


@triton.jit  # type: ignore[untyped-decorator]
def _rotary_forward(  # type: ignore[no-untyped-def]
    rows, cosines, sines, query_gain, key_gain, out, tokens, queries, keys, stride, out_stride, table_stride, epsilon,
    HALF: tl.constexpr, TILE: tl.constexpr, NORM: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """The second axis of the grid: queries, keys."""
    of_keys = tl.program_id(1)
    count = tl.where(of_keys == 1, keys, queries)
    first_head = of_keys * queries
    index = tl.program_id(0) * TILE + tl.arange(0, TILE)
    place, angle, inside = _places(index, count, tokens, stride, first_head, table_stride, HALF)
    a = tl.load(rows + place, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(rows + place + HALF, mask=inside, other=0.0).to(tl.float32)
    if NORM:
        rstd = 1 / tl.sqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / (2 * HALF) + epsilon)[:, None]
        gain = tl.where(of_keys == 1, key_gain, query_gain) + tl.arange(0, HALF)[None, :]
        a *= rstd * tl.load(gain).to(tl.float32)
        b *= rstd * tl.load(gain + HALF).to(tl.float32)
    cos_a = tl.load(cosines + angle, mask=inside, other=0.0).to(tl.float32)
    sin_a = tl.load(sines + angle, mask=inside, other=0.0).to(tl.float32)
    cos_b = tl.load(cosines + angle + HALF, mask=inside, other=0.0).to(tl.float32)
    sin_b = tl.load(sines + angle + HALF, mask=inside, other=0.0).to(tl.float32)
    place, _, _ = _places(index, count, tokens, out_stride, first_head, table_stride, HALF)
    tl.store(out + place, a * cos_a - b * sin_a, mask=inside)
    tl.store(out + place + HALF, b * cos_b + a * sin_b, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _rotary_backward(  # type: ignore[no-untyped-def]
    d_query, d_key, cosines, sines, rows, query_gain, key_gain, d_rows, partial_sums,
    tokens, queries, keys, d_query_stride, d_key_stride, stride, d_stride, table_stride, epsilon,
    HALF: tl.constexpr, TILE: tl.constexpr, NORM: tl.constexpr, TRAINED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Gradients are turned back, then taken through the normalisation, whose rows are made anew."""
    of_keys = tl.program_id(1)
    count = tl.where(of_keys == 1, keys, queries)
    first_head = of_keys * queries
    gradients = tl.where(of_keys == 1, d_key, d_query)
    gradient_stride = tl.where(of_keys == 1, d_key_stride, d_query_stride)
    column = tl.arange(0, HALF)[None, :]
    if NORM:
        gain = tl.where(of_keys == 1, key_gain, query_gain) + column
    d_gain_a = tl.zeros((TILE, HALF), tl.float32)
    d_gain_b = tl.zeros((TILE, HALF), tl.float32)
    for start in range(tl.program_id(0) * TILE, tokens * count, tl.num_programs(0) * TILE):
        index = start + tl.arange(0, TILE)
        place, angle, inside = _places(index, count, tokens, gradient_stride, 0, table_stride, HALF)
        da = tl.load(gradients + place, mask=inside, other=0.0).to(tl.float32)
        db = tl.load(gradients + place + HALF, mask=inside, other=0.0).to(tl.float32)
        cos_a = tl.load(cosines + angle, mask=inside, other=0.0).to(tl.float32)
        sin_a = tl.load(sines + angle, mask=inside, other=0.0).to(tl.float32)
        cos_b = tl.load(cosines + angle + HALF, mask=inside, other=0.0).to(tl.float32)
        sin_b = tl.load(sines + angle + HALF, mask=inside, other=0.0).to(tl.float32)
        da, db = da * cos_a + db * sin_b, db * cos_b - da * sin_a
        if NORM:
            place, _, _ = _places(index, count, tokens, stride, first_head, table_stride, HALF)
            a = tl.load(rows + place, mask=inside, other=0.0).to(tl.float32)
            b = tl.load(rows + place + HALF, mask=inside, other=0.0).to(tl.float32)
            rstd = 1 / tl.sqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / (2 * HALF) + epsilon)[:, None]
            a *= rstd
            b *= rstd
            if TRAINED:
                d_gain_a += da * a
                d_gain_b += db * b
            da *= tl.load(gain).to(tl.float32)
            db *= tl.load(gain + HALF).to(tl.float32)
            projection = ((tl.sum(a * da, 1) + tl.sum(b * db, 1)) / (2 * HALF))[:, None]
            da = (da - a * projection) * rstd
            db = (db - b * projection) * rstd
        place, _, _ = _places(index, count, tokens, d_stride, first_head, table_stride, HALF)
        tl.store(d_rows + place, da, mask=inside)
        tl.store(d_rows + place + HALF, db, mask=inside)
    if TRAINED:
        sums = partial_sums + (tl.program_id(0) * 2 + of_keys) * (2 * HALF) + tl.arange(0, HALF)
        tl.store(sums, tl.sum(d_gain_a, 0))
        tl.store(sums + HALF, tl.sum(d_gain_b, 0))


class _Rotary(torch.autograd.Function):
    """Its results are views of its input where that is turned in place, and so is its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        cosines: torch.Tensor,
        sines: torch.Tensor,
        query_gain: torch.Tensor | None,
        key_gain: torch.Tensor | None,
        epsilon: float,
        heads: Heads,
    ) -> tuple[torch.Tensor, ...]:
        tokens, size = rows.shape[0], heads.size
        norm = query_gain is not None
        tile = max(1, TILE_ELEMENTS // size)
        turned_width = (heads.queries + heads.keys) * size
        turned = torch.empty(tokens, turned_width, device=rows.device, dtype=rows.dtype) if norm else rows
        launch(
            _rotary_forward, (triton.cdiv(tokens * max(heads.queries, heads.keys), tile), 2),
            rows, cosines, sines, query_gain, key_gain, turned, tokens, heads.queries, heads.keys,
            rows.stride(0), turned.stride(0), cosines.stride(0), epsilon, HALF=size // 2, TILE=tile, NORM=norm,
        )  # fmt: skip
        ctx.save_for_backward(rows if norm else None, cosines, sines, query_gain, key_gain)
        ctx.options = epsilon, heads
        query, key = turned[:, :turned_width].split((heads.queries * size, heads.keys * size), dim=1)
        parts = query, key, rows[:, turned_width:]
        return tuple(part.unflatten(1, (-1, size)) for part in parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, cosines, sines, query_gain, key_gain = ctx.saved_tensors
        epsilon, heads = ctx.options
        tokens, size, norm = len(cosines), heads.size, rows is not None
        tile = max(1, TILE_ELEMENTS // size)
        parts = [gradient.flatten(1) for gradient in gradients]
        d_query, d_key, d_value = parts
        if norm:
            d_rows = torch.empty_like(rows)
            d_rows[:, (heads.queries + heads.keys) * size :] = d_value
        else:  # nobody else reads these gradients: what is not one array is put together anew
            d_rows = side_by_side(parts)
            d_query, d_key, _ = d_rows.split([part.shape[1] for part in parts], dim=1)
        trained = norm and (ctx.needs_input_grad[3] or ctx.needs_input_grad[4])
        programs = triton.cdiv(tokens * max(heads.queries, heads.keys), tile)
        if trained:
            programs = min(programs, BACKWARD_PROGRAMS)
        partial_sums = torch.empty(programs if trained else 0, 2 * size, device=d_rows.device)
        launch(
            _rotary_backward, (programs, 2),
            d_query, d_key, cosines, sines, rows, query_gain, key_gain, d_rows, partial_sums,
            tokens, heads.queries, heads.keys, d_query.stride(0), d_key.stride(0), d_rows.stride(0), d_rows.stride(0),
            cosines.stride(0), epsilon, HALF=size // 2, TILE=tile, NORM=norm, TRAINED=trained,
        )  # fmt: skip
        d_gains: tuple[torch.Tensor | None, ...] = (None, None)
        if trained:
            d_gains = fold(partial_sums, query_gain.dtype).split(size)
        return d_rows, None, None, *d_gains, None, None


def rotary(
    rows: torch.Tensor,
    cosines: torch.Tensor,
    sines: torch.Tensor,
    heads: Heads,
    gains: tuple[torch.Tensor, torch.Tensor] | None = None,
    epsilon: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries and keys turned by their tokens' angles, and values.

    Args:
        rows: shape (T, (queries + keys + values) * head size), contiguous; **overwritten** where there are no `gains`,
            so that nothing else may read it.
        cosines: of each token's angles, shape (T, head size).
        sines: likewise.
        heads: how a row is cut; the head size is twice a power of two.
        gains: weights of the heads' normalisation by their root mean square, for queries and keys, shape (head size,).
        epsilon: of that normalisation.

    Returns:
        Shapes (T, queries, head size), (T, keys, head size) and (T, values, head size).
    """
    query_gain, key_gain = gains or (None, None)
    out: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _Rotary.apply(  # type: ignore[no-untyped-call]
        rows, cosines, sines, query_gain, key_gain, epsilon, heads
    )
    return out
