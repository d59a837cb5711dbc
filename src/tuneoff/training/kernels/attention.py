"""Self-attention among packed sequences as Triton kernels, with dropout that stores no mask. For CUDA devices.

A program holds a block of queries (or of keys, for their gradients) of one sequence and head, and walks over the
keys (queries) that it may see. Programs are launched for as many blocks as the longest sequence may have; those
beyond their sequence's end return at once, so that the grid depends on nothing that lies on the device. No result
is added up by atomics: the same input gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.fused import are_side_by_side

HEAD_SIZES = (32, 64, 128)


@dataclass(frozen=True)
class Blocks:
    """How a kernel is cut.

    Attributes:
        queries, keys: sides of a tile of scores.
        warps: of a program.
        stages: tiles on their way from memory at a time.
        registers: most that a thread may use, so that more programs fit a multiprocessor; no limit if None.
        split: whether tiles that need no mask have a loop of their own; of kernels that go over keys only.
    """

    queries: int
    keys: int
    warps: int
    stages: int
    registers: int | None = None
    split: bool = True

    @property
    def options(self) -> dict[str, int | None]:
        """As keyword arguments of a launch."""
        return {
            "M": self.queries,
            "N": self.keys,
            "num_warps": self.warps,
            "num_stages": self.stages,
            "maxnreg": self.registers,
        }


FORWARD = {
    32: Blocks(64, 64, 4, 3, 128, split=False),
    64: Blocks(64, 64, 4, 3, 128, split=False),
    128: Blocks(128, 64, 8, 2, split=False),
}
QUERY_GRADIENT = {
    32: Blocks(64, 32, 4, 3, 128, split=False),
    64: Blocks(64, 32, 4, 3, 128, split=False),
    128: Blocks(64, 64, 4, 2, split=False),
}
KEY_GRADIENT = {32: Blocks(64, 64, 4, 3), 64: Blocks(64, 64, 4, 3), 128: Blocks(32, 64, 4, 2)}
"""By head size. All sides are multiples of 16. A kernel's blocks of queries are no larger than those of the one above,
whose results it reads."""


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _place(bounds, blocks, heads, SIDE: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """A program's share: where its sequence starts, the sequence's length, the head, the block's first token."""
    program = tl.program_id(0)
    first = program % blocks * SIDE
    head = program // blocks % heads
    sequence = program // blocks // heads
    start = tl.load(bounds + sequence)
    return start, tl.load(bounds + sequence + 1) - start, head, first


@triton.jit  # type: ignore[untyped-decorator]
def _keys_seen(first, length, window, M: tl.constexpr, N: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """For a block of queries: first key seen by any, first and end of the blocks seen whole by all, end."""
    begin, end = 0, length
    whole, whole_end = 0, length
    if WINDOW:
        begin = tl.maximum(first - window + 1, 0) // N * N
        whole = (tl.maximum(first + M - window, 0) + N - 1) // N * N
        end = tl.minimum(end, first + M - 1 + window)
        whole_end = tl.minimum(whole_end, first + window)
    if CAUSAL:
        end = tl.minimum(end, first + M)
        whole_end = tl.minimum(whole_end, first + 1)
    whole = tl.minimum(whole, end)
    return begin, whole, tl.maximum(whole_end // N * N, whole), end


@triton.jit  # type: ignore[untyped-decorator]
def _queries_seeing(  # type: ignore[no-untyped-def]
    first, length, needed, window,
    M: tl.constexpr, N: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """For a block of keys, among needed queries: first that sees any, first and end of the blocks that see all, end."""
    end = (tl.minimum(length, needed) + M - 1) // M * M
    begin, whole, whole_end = 0, 0, end
    if WINDOW:
        begin = tl.maximum(first - window + 1, 0) // M * M
        whole = (tl.maximum(first + N - window, 0) + M - 1) // M * M
        end = tl.minimum(end, first + N - 1 + window)
        whole_end = tl.minimum(whole_end, (first + window) // M * M)
    if CAUSAL:
        begin = first // M * M
        whole = (first + N - 1 + M - 1) // M * M
    whole = tl.maximum(tl.minimum(whole, end), begin)
    return begin, whole, tl.maximum(whole_end, whole), end


@triton.jit  # type: ignore[untyped-decorator]
def _visible(query, key, length, window, CAUSAL: tl.constexpr, WINDOW: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    inside = key < length
    if CAUSAL:
        inside = inside & (key <= query)
    if WINDOW:
        inside = inside & (query - key < window) & (key - query < window)
    return inside


@triton.jit  # type: ignore[untyped-decorator]
def _spread(a, b, c, d, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Four tiles of half the height and width as one; bit 3 of an element's row and column says which it is of.

    On tensor cores, bit 3 of row and column tell apart elements that one thread holds, whichever way round a tile is.
    """
    tile = tl.join(tl.join(a, b), tl.join(c, d))
    tile = tl.reshape(tile, (ROWS // 16, 8, COLUMNS // 16, 8, 2, 2))
    return tl.reshape(tl.permute(tile, (0, 5, 1, 2, 4, 3)), (ROWS, COLUMNS))


@triton.jit  # type: ignore[untyped-decorator]
def _kept(  # type: ignore[no-untyped-def]
    seed, start, head, query, key, threshold,
    M: tl.constexpr, N: tl.constexpr, KEYS_FIRST: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Which weights dropout keeps, in the tile of queries from `query` and keys from `key` (multiples of 16).

    A draw serves two queries and two keys, each eight apart.
    """
    queries = query // 2 + tl.arange(0, M // 2)
    keys = key // 2 + tl.arange(0, N // 2)
    if KEYS_FIRST:
        a, b, c, d = tl.philox(seed, queries[None, :], keys[:, None], head, start, 7)
        words = _spread(a, c, b, d, N, M)
    else:
        a, b, c, d = tl.philox(seed, queries[:, None], keys[None, :], head, start, 7)
        words = _spread(a, b, c, d, M, N)
    return words.to(tl.int32, bitcast=True) >= threshold


@triton.jit  # type: ignore[untyped-decorator]
def _rows(base, first, length, stride, COUNT: tl.constexpr, D: tl.constexpr, MASKED: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Tokens from `first` on of one sequence and head; zeros beyond its end."""
    row = tl.arange(0, COUNT)[:, None]
    place = base + first * stride + row * stride + tl.arange(0, D)[None, :]
    if MASKED:
        return tl.load(place, mask=row < length - first, other=0.0)
    return tl.load(place)


@triton.jit  # type: ignore[untyped-decorator]
def _store_rows(base, first, length, stride, value, COUNT: tl.constexpr, D: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    row = tl.arange(0, COUNT)[:, None]
    place = base + first * stride + row * stride + tl.arange(0, D)[None, :]
    tl.store(place, value.to(base.dtype.element_ty), mask=row < length - first)


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    total, top, weight, q, k, v, first, key, start, length, head, window, scale, seed, threshold, k_stride, v_stride,
    M: tl.constexpr, N: tl.constexpr, D: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, MASKED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Takes a block of keys into the running sum of values, highest score and sum of weights."""
    scores = tl.dot(q, tl.trans(_rows(k, key, length, k_stride, N, D, MASKED)))
    if MASKED:
        query, column = first + tl.arange(0, M)[:, None], key + tl.arange(0, N)[None, :]
        scores = tl.where(_visible(query, column, length, window, CAUSAL, WINDOW), scores, float("-inf"))
    higher = tl.maximum(top, tl.max(scores, 1) * scale)
    base = higher
    if WINDOW:  # a query may see no key of its first block
        base = tl.where(higher == float("-inf"), 0.0, higher)
    p = tl.exp2(scores * scale - base[:, None])
    shrink = tl.exp2(top - base)
    weight = weight * shrink + tl.sum(p, 1)
    if DROP:
        p = tl.where(_kept(seed, start, head, first, key, threshold, M, N, False), p, 0.0)
    values = _rows(v, key, length, v_stride, N, D, MASKED)
    return tl.dot(p.to(values.dtype), values, total * shrink[:, None]), higher, weight


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    q, k, v, out, level, bounds, seed, salt, threshold, share, scale, tokens, blocks, heads, window,
    q_stride, q_head, k_stride, k_head, v_stride, v_head,
    GROUP: tl.constexpr, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, SPLIT: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """`level` is where softmax's weights of a query are one: the base-2 logarithm of the sum of exponentials."""
    start, length, head, first = _place(bounds, blocks, heads, M)
    if first >= length:
        return
    begin, whole, whole_end, end = _keys_seen(first, length, window, M, N, CAUSAL, WINDOW)
    origin = start.to(tl.int64)
    q += origin * q_stride + head * q_head
    k += origin * k_stride + head // GROUP * k_head
    v += origin * v_stride + head // GROUP * v_head
    scale *= 1.4426950408889634
    drawn = 0
    if DROP:
        drawn = tl.load(seed) + salt
    queries = _rows(q, first, length, q_stride, M, D, True)
    total = tl.zeros((M, D), tl.float32)
    top = tl.full((M,), float("-inf"), tl.float32)
    weight = tl.zeros((M,), tl.float32)
    if not SPLIT:
        whole_end = begin
    if SPLIT and WINDOW:
        for key in range(begin, whole, N):
            total, top, weight = _attend(
                total, top, weight, queries, k, v, first, key, start, length, head, window, scale, drawn, threshold,
                k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
            )  # fmt: skip
    if SPLIT:
        for key in range(whole, whole_end, N):
            total, top, weight = _attend(
                total, top, weight, queries, k, v, first, key, start, length, head, window, scale, drawn, threshold,
                k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, False,
            )  # fmt: skip
    for key in range(whole_end, end, N):
        total, top, weight = _attend(
            total, top, weight, queries, k, v, first, key, start, length, head, window, scale, drawn, threshold,
            k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
        )  # fmt: skip
    out += (origin * heads + head) * D
    _store_rows(out, first, length, heads * D, total * (share / weight)[:, None], M, D)
    row = first + tl.arange(0, M)
    tl.store(level + head * tokens + start + row, top + tl.log2(weight), mask=row < length)


@triton.jit  # type: ignore[untyped-decorator]
def _to_query(  # type: ignore[no-untyped-def]
    d_q, q, d_out, level, along, k, v, first, key, start, length, head, window, scale, seed, threshold,
    k_stride, v_stride, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, MASKED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Adds what a block of keys gives to the queries' gradient."""
    keys = _rows(k, key, length, k_stride, N, D, MASKED)
    values = _rows(v, key, length, v_stride, N, D, MASKED)
    scores = tl.dot(q, tl.trans(keys))
    d_p = tl.dot(d_out, tl.trans(values))
    p = tl.exp2(scores * scale - level[:, None])
    if MASKED:
        query, column = first + tl.arange(0, M)[:, None], key + tl.arange(0, N)[None, :]
        p = tl.where(_visible(query, column, length, window, CAUSAL, WINDOW), p, 0.0)
    if DROP:
        d_p = tl.where(_kept(seed, start, head, first, key, threshold, M, N, False), d_p, 0.0)
    return tl.dot((p * (d_p - along[:, None])).to(keys.dtype), keys, d_q)


@triton.jit  # type: ignore[untyped-decorator]
def _query_gradient(  # type: ignore[no-untyped-def]
    q, k, v, out, d_out, level, row_terms, d_q, bounds, seed, salt, threshold, share, scale,
    tokens, blocks, heads, window, q_stride, q_head, k_stride, k_head, v_stride, v_head, d_stride, d_head, d_q_stride,
    GROUP: tl.constexpr, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, SPLIT: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Also writes `row_terms`: of each query, its level and what softmax's gradient takes off its row."""
    start, length, head, first = _place(bounds, blocks, heads, M)
    if first >= length:
        return
    begin, whole, whole_end, end = _keys_seen(first, length, window, M, N, CAUSAL, WINDOW)
    origin = start.to(tl.int64)
    q += origin * q_stride + head * q_head
    k += origin * k_stride + head // GROUP * k_head
    v += origin * v_stride + head // GROUP * v_head
    d_out += origin * d_stride + head * d_head
    out += (origin * heads + head) * D
    d_q += origin * d_q_stride + head * D
    drawn = 0
    if DROP:
        drawn = tl.load(seed) + salt
    queries = _rows(q, first, length, q_stride, M, D, True)
    gradient = _rows(d_out, first, length, d_stride, M, D, True)
    output = _rows(out, first, length, heads * D, M, D, True)
    row = first + tl.arange(0, M)
    taken = tl.sum(gradient.to(tl.float32) * output.to(tl.float32), 1) / share
    one = tl.load(level + head * tokens + start + row, mask=row < length, other=float("inf"))
    pair = 2 * (head * tokens + start + row[:, None]) + tl.arange(0, 2)[None, :]
    tl.store(row_terms + pair, tl.join(one, taken), mask=row[:, None] < length)
    steep = scale * 1.4426950408889634
    total = tl.zeros((M, D), tl.float32)
    if not SPLIT:
        whole_end = begin
    if SPLIT and WINDOW:
        for key in range(begin, whole, N):
            total = _to_query(
                total, queries, gradient, one, taken, k, v, first, key, start, length, head, window, steep, drawn,
                threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
            )  # fmt: skip
    if SPLIT:
        for key in range(whole, whole_end, N):
            total = _to_query(
                total, queries, gradient, one, taken, k, v, first, key, start, length, head, window, steep, drawn,
                threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, False,
            )  # fmt: skip
    for key in range(whole_end, end, N):
        total = _to_query(
            total, queries, gradient, one, taken, k, v, first, key, start, length, head, window, steep, drawn,
            threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
        )  # fmt: skip
    _store_rows(d_q, first, length, d_q_stride, total * (scale * share), M, D)


@triton.jit  # type: ignore[untyped-decorator]
def _to_keys(  # type: ignore[no-untyped-def]
    d_k, d_v, k, v, q, d_out, row_terms, first, query, start, length, head, window, scale, seed, threshold,
    q_stride, d_stride, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, MASKED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Adds what a block of queries gives to the gradients of keys and values. Tiles of scores are keys by queries."""
    queries = _rows(q, query, length, q_stride, M, D, True)
    gradient = _rows(d_out, query, length, d_stride, M, D, True)
    # Beyond the end weights are zero. Keys beyond it get gradients that nobody stores.
    row = query + tl.arange(0, M)
    pair = 2 * row[:, None] + tl.arange(0, 2)[None, :]
    one, taken = tl.split(tl.load(row_terms + pair, mask=row[:, None] < length, other=float("inf")))
    taken = tl.where(row < length, taken, 0.0)
    p = tl.exp2(tl.dot(k, tl.trans(queries)) * scale - one[None, :])
    if MASKED:
        p = tl.where(_visible(row[None, :], first + tl.arange(0, N)[:, None], length, window, CAUSAL, WINDOW), p, 0.0)
    d_p = tl.dot(v, tl.trans(gradient))
    used = p
    if DROP:
        kept = _kept(seed, start, head, query, first, threshold, M, N, True)
        used = tl.where(kept, p, 0.0)
        d_p = tl.where(kept, d_p, 0.0)
    d_v = tl.dot(used.to(gradient.dtype), gradient, d_v)
    d_k = tl.dot((p * (d_p - taken[None, :])).to(queries.dtype), queries, d_k)
    return d_k, d_v


@triton.jit  # type: ignore[untyped-decorator]
def _key_gradient(  # type: ignore[no-untyped-def]
    q, k, v, d_out, row_terms, d_k, d_v, bounds, seed, salt, threshold, share, scale, tokens, blocks, heads, needed,
    window, q_stride, q_head, k_stride, k_head, v_stride, v_head, d_stride, d_head, d_k_stride,
    GROUP: tl.constexpr, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr,  # noqa: N803
):  # fmt: skip
    start, length, pair, first = _place(bounds, blocks, heads // GROUP, N)
    if first >= length:
        return
    begin, whole, whole_end, end = _queries_seeing(first, length, needed, window, M, N, CAUSAL, WINDOW)
    origin = start.to(tl.int64)
    keys = _rows(k + origin * k_stride + pair * k_head, first, length, k_stride, N, D, True)
    values = _rows(v + origin * v_stride + pair * v_head, first, length, v_stride, N, D, True)
    q += origin * q_stride
    d_out += origin * d_stride
    row_terms += 2 * start
    drawn = 0
    if DROP:
        drawn = tl.load(seed) + salt
    steep = scale * 1.4426950408889634
    to_keys = tl.zeros((N, D), tl.float32)
    to_values = tl.zeros((N, D), tl.float32)
    for head in range(pair * GROUP, pair * GROUP + GROUP):
        q_here, d_here, terms = q + head * q_head, d_out + head * d_head, row_terms + 2 * head * tokens
        if WINDOW or CAUSAL:
            for query in range(begin, whole, M):
                to_keys, to_values = _to_keys(
                    to_keys, to_values, keys, values, q_here, d_here, terms, first, query, start, length, head,
                    window, steep, drawn, threshold, q_stride, d_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
                )  # fmt: skip
        for query in range(whole, whole_end, M):
            to_keys, to_values = _to_keys(
                to_keys, to_values, keys, values, q_here, d_here, terms, first, query, start, length, head,
                window, steep, drawn, threshold, q_stride, d_stride, M, N, D, CAUSAL, WINDOW, DROP, False,
            )  # fmt: skip
        if WINDOW:
            for query in range(whole_end, end, M):
                to_keys, to_values = _to_keys(
                    to_keys, to_values, keys, values, q_here, d_here, terms, first, query, start, length, head,
                    window, steep, drawn, threshold, q_stride, d_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
                )  # fmt: skip
    place = origin * d_k_stride + pair * D
    _store_rows(d_k + place, first, length, d_k_stride, to_keys * (scale * share), N, D)
    _store_rows(d_v + place, first, length, d_k_stride, to_values * share, N, D)


@dataclass(frozen=True)
class _Options:
    """What the kernels of both directions are told."""

    longest: int
    needed: int
    scale: float
    causal: bool
    window: int | None
    dropout_p: float
    salt: int

    def chance(self, seed: torch.Tensor) -> tuple[torch.Tensor, int, int, float]:
        """The seed, its salt, the least signed 32-bit draw that is kept, and the factor of what is kept."""
        threshold = round(self.dropout_p * (1 << 32)) - (1 << 31)
        return seed, self.salt, threshold, 1.0 / (1.0 - self.dropout_p)

    def shape(self, query: torch.Tensor, key: torch.Tensor) -> dict[str, int | bool]:
        """Constants of a kernel."""
        return {
            "GROUP": query.shape[1] // key.shape[1],
            "D": query.shape[2],
            "CAUSAL": self.causal,
            "WINDOW": self.window is not None,
            "DROP": self.dropout_p > 0,
        }


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bounds: torch.Tensor,
        seed: torch.Tensor,
        options: _Options,
    ) -> torch.Tensor:
        tokens, heads, size = query.shape
        out = torch.empty(tokens, heads, size, device=query.device, dtype=query.dtype)
        level = torch.empty(heads, tokens, device=query.device, dtype=torch.float32)
        cut = FORWARD[size]
        blocks = triton.cdiv(options.needed, cut.queries)
        _forward[(blocks * heads * (len(bounds) - 1),)](
            query, key, value, out, level, bounds, *options.chance(seed), options.scale, tokens, blocks, heads,
            options.window or 0, *_strides(query), *_strides(key), *_strides(value),
            **options.shape(query, key), **cut.options, SPLIT=cut.split,
        )  # fmt: skip
        ctx.save_for_backward(query, key, value, out, level, bounds, seed)
        ctx.options = options
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, out, level, bounds, seed = ctx.saved_tensors
        options: _Options = ctx.options
        d_out = gradients[0]
        if d_out.stride(2) != 1:
            d_out = d_out.contiguous()
        tokens, heads, size = query.shape
        pairs = key.shape[1]
        row_terms = torch.empty(heads, tokens, 2, device=query.device, dtype=torch.float32)
        d_query, d_key, d_value = _room_for_gradients(query, key, value)
        if options.needed < options.longest:
            d_query.zero_()
        strides = (*_strides(query), *_strides(key), *_strides(value), *_strides(d_out))
        shape = options.shape(query, key)
        sequences = len(bounds) - 1
        cut = QUERY_GRADIENT[size]
        blocks = triton.cdiv(options.needed, cut.queries)
        _query_gradient[(blocks * heads * sequences,)](
            query, key, value, out, d_out, level, row_terms, d_query, bounds, *options.chance(seed), options.scale,
            tokens, blocks, heads, options.window or 0, *strides, d_query.stride(0), **shape, **cut.options,
            SPLIT=cut.split,
        )  # fmt: skip
        cut = KEY_GRADIENT[size]
        blocks = triton.cdiv(options.longest, cut.keys)
        _key_gradient[(blocks * pairs * sequences,)](
            query, key, value, d_out, row_terms, d_key, d_value, bounds, *options.chance(seed), options.scale,
            tokens, blocks, heads, options.needed, options.window or 0, *strides, d_key.stride(0), **shape,
            **cut.options,
        )  # fmt: skip
        return d_query, d_key, d_value, None, None, None


def _room_for_gradients(*parts: torch.Tensor) -> Sequence[torch.Tensor]:
    """Side by side in one array where the parts themselves are, so that a product made at once goes back at once."""
    heads_adjoin = all(part.stride(1) == part.shape[2] for part in parts)
    if heads_adjoin and are_side_by_side([part.flatten(1) for part in parts]):
        tokens, _, size = parts[0].shape
        heads = [part.shape[1] for part in parts]
        return torch.empty(tokens, sum(heads), size, device=parts[0].device, dtype=parts[0].dtype).split(heads, dim=1)
    return [torch.empty(part.shape, device=part.device, dtype=part.dtype) for part in parts]


def _strides(part: torch.Tensor) -> tuple[int, int]:
    return part.stride(0), part.stride(1)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    longest: int,
    scale: float | None,
    causal: bool,
    window: int | None,
    dropout_p: float,
    seed: torch.Tensor,
    salt: int,
    needed: int | None = None,
) -> torch.Tensor:
    """Attention among the tokens of each packed sequence.

    Which weights are dropped is a function of the seed, the salt, the head, where the sequence starts, and the
    positions of query and key in it.

    Args:
        query: shape (T, heads, head size), the head size one of `HEAD_SIZES`; strided, but for the last dimension.
        key: shape (T, key-value heads, head size), the number of heads a divisor of the query's.
        value: like `key`.
        bounds: where each sequence starts, and the end (T), int32; sequences may be empty.
        longest: at least the tokens of the longest sequence.
        scale: of the scores, above zero; one over the root of the head size when None.
        causal: whether tokens see none after them.
        window: tokens see those nearer than this; all when None.
        dropout_p: probability of dropping an attention weight; the others are scaled by 1 / (1 - p).
        seed: shape (), int64, on the same device; read when the kernels run, so that a CUDA graph sees its changes.
        salt: added to the seed.
        needed: the result is read for so many leading tokens of each sequence, and undefined for others; all when None.

    Returns:
        Shape (T, heads, head size), contiguous.
    """
    scale = 1.0 / math.sqrt(query.shape[2]) if scale is None else scale
    assert scale > 0
    assert query.shape[1] % key.shape[1] == 0
    query, key, value = (part if part.stride(2) == 1 else part.contiguous() for part in (query, key, value))
    options = _Options(longest, min(needed or longest, longest), scale, causal, window, dropout_p, salt)
    out: torch.Tensor = _Attention.apply(query, key, value, bounds, seed, options)  # type: ignore[no-untyped-call]
    return out
