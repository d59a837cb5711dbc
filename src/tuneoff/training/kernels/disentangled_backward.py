"""The backward pass of DeBERTa's attention among packed sequences. For CUDA devices.

Two kernels as for other models' attention, one that holds queries and one that holds keys; each also writes the
gradients of its scores, token by token in rows. In such a row the distances of one bucket lie side by side, so that a
third kernel sums them, in a fixed order and without atomics, to the gradients of the products with positions.

Source: Dao et al. 2022 (FlashAttention), algorithm 4.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.attention_tiles import keep_mask, load_rows, locate_block, store_rows
from tuneoff.training.kernels.disentangled_tiles import (
    KEY_GRADIENT,
    QUERY_GRADIENT,
    SUMS,
    Call,
    add_positions,
    at_sequence,
)
from tuneoff.training.kernels.launch import launch


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _query_gradient(  # type: ignore[no-untyped-def]
    q, k, v, c2p, p2c, out, d_out, lse, lse_delta, d_q, d_scores, cu_seqlens, seed, salt, threshold, keep_scale,
    first_head, buckets, centre, count, scale, total_tokens, num_blocks, heads, width,
    q_stride, k_stride, v_stride, out_stride, d_stride, d_q_stride,
    C2P: tl.constexpr, P2C: tl.constexpr, DROP: tl.constexpr,  # noqa: N803
    D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Also writes `lse_delta` for the other kernel: of each query, its lse and delta, side by side for one load.

    Delta, the sum of a query's result times its gradient, is what softmax's gradient takes off the query's row. Results
    hold the factor of what dropout keeps, gradients of weights here do not: it is divided out, and comes in at the end.
    """
    seq_start, seqlen, head, block_start = locate_block(cu_seqlens, num_blocks, heads, M)
    if block_start >= seqlen:
        return
    offset = seq_start.to(tl.int64)
    q += offset * q_stride + head * D
    k += offset * k_stride + head * D
    v += offset * v_stride + head * D
    if C2P:
        c2p = at_sequence(c2p, head, total_tokens, seq_start, count)
        d_scores = at_sequence(d_scores, head, total_tokens, seq_start, width)
    if P2C:
        p2c = at_sequence(p2c, head, total_tokens, seq_start, count)
    step_seed = 0
    if DROP:
        step_seed = tl.load(seed) + salt
    queries = load_rows(q, block_start, seqlen, q_stride, M, D, True)
    gradient = load_rows(d_out + offset * d_stride + head * D, block_start, seqlen, d_stride, M, D, True)
    output = load_rows(out + offset * out_stride + head * D, block_start, seqlen, out_stride, M, D, True)
    row = block_start + tl.arange(0, M)
    delta = tl.sum(gradient.to(tl.float32) * output.to(tl.float32), 1) / keep_scale
    # Infinite beyond the end, so that weights are zero there.
    row_lse = tl.load(lse + head * total_tokens + seq_start + row, mask=row < seqlen, other=float("inf"))
    pair = 2 * (head * total_tokens + seq_start + row[:, None]) + tl.arange(0, 2)[None, :]
    tl.store(lse_delta + pair, tl.join(row_lse, delta), mask=row[:, None] < seqlen)
    scale_log2 = scale * 1.4426950408889634
    acc = tl.zeros((M, D), tl.float32)
    for key_start in range(0, seqlen, N):
        keys = load_rows(k, key_start, seqlen, k_stride, N, D, True)
        values = load_rows(v, key_start, seqlen, v_stride, N, D, True)
        scores = add_positions(
            tl.dot(queries, tl.trans(keys)), c2p, p2c, buckets, centre, count, block_start, key_start, seqlen,
            M, N, C2P, P2C, True,
        )  # fmt: skip
        d_p = tl.dot(gradient, tl.trans(values))
        key = key_start + tl.arange(0, N)[None, :]
        p = tl.where(key < seqlen, tl.exp2(scores * scale_log2 - row_lse[:, None]), 0.0)
        if DROP:
            kept = keep_mask(step_seed, seq_start, first_head + head, block_start, key_start, threshold, M, N, False)
            d_p = tl.where(kept, d_p, 0.0)
        d_s = (p * (d_p - delta[:, None])).to(keys.dtype)
        if C2P:
            tl.store(d_scores + row[:, None] * width + key, d_s, mask=(row[:, None] < seqlen) & (key < seqlen))
        acc = tl.dot(d_s, keys, acc)
    d_q += offset * d_q_stride + head * D
    store_rows(d_q, block_start, seqlen, d_q_stride, acc * (scale * keep_scale), M, D)


@triton.jit  # type: ignore[untyped-decorator]
def _key_gradient(  # type: ignore[no-untyped-def]
    q, k, v, c2p, p2c, d_out, lse_delta, d_k, d_v, d_scores, cu_seqlens, seed, salt, threshold, keep_scale,
    first_head, buckets, centre, count, scale, total_tokens, num_blocks, heads, width, needed,
    q_stride, k_stride, v_stride, d_stride, d_k_stride, d_v_stride,
    C2P: tl.constexpr, P2C: tl.constexpr, DROP: tl.constexpr,  # noqa: N803
    D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Tiles of scores are keys by queries, so that no product needs a transposed tile of weights."""
    seq_start, seqlen, head, block_start = locate_block(cu_seqlens, num_blocks, heads, N)
    if block_start >= seqlen:
        return
    offset = seq_start.to(tl.int64)
    keys = load_rows(k + offset * k_stride + head * D, block_start, seqlen, k_stride, N, D, True)
    values = load_rows(v + offset * v_stride + head * D, block_start, seqlen, v_stride, N, D, True)
    q += offset * q_stride + head * D
    d_out += offset * d_stride + head * D
    lse_delta += 2 * (head * total_tokens + seq_start)
    if C2P:
        c2p = at_sequence(c2p, head, total_tokens, seq_start, count)
    if P2C:
        p2c = at_sequence(p2c, head, total_tokens, seq_start, count)
        d_scores = at_sequence(d_scores, head, total_tokens, seq_start, width)
    step_seed = 0
    if DROP:
        step_seed = tl.load(seed) + salt
    scale_log2 = scale * 1.4426950408889634
    key = block_start + tl.arange(0, N)[:, None]
    acc_k = tl.zeros((N, D), tl.float32)
    acc_v = tl.zeros((N, D), tl.float32)
    for query_start in range(0, tl.minimum(seqlen, needed), M):
        queries = load_rows(q, query_start, seqlen, q_stride, M, D, True)
        gradient = load_rows(d_out, query_start, seqlen, d_stride, M, D, True)
        # Beyond the end weights are zero. Keys beyond it get gradients that nobody stores.
        row = query_start + tl.arange(0, M)
        pair = 2 * row[:, None] + tl.arange(0, 2)[None, :]
        lse, delta = tl.split(tl.load(lse_delta + pair, mask=row[:, None] < seqlen, other=float("inf")))
        delta = tl.where(row < seqlen, delta, 0.0)
        scores = add_positions(
            tl.dot(keys, tl.trans(queries)), p2c, c2p, buckets, centre, count, block_start, query_start, seqlen,
            N, M, P2C, C2P, False,
        )  # fmt: skip
        p = tl.exp2(scores * scale_log2 - lse[None, :])
        d_p = tl.dot(values, tl.trans(gradient))
        dropped_p = p
        if DROP:
            kept = keep_mask(step_seed, seq_start, first_head + head, query_start, block_start, threshold, M, N, True)
            dropped_p = tl.where(kept, p, 0.0)
            d_p = tl.where(kept, d_p, 0.0)
        acc_v = tl.dot(dropped_p.to(gradient.dtype), gradient, acc_v)
        d_s = (p * (d_p - delta[None, :])).to(queries.dtype)
        if P2C:
            tl.store(d_scores + key * width + row[None, :], d_s, mask=(key < seqlen) & (row[None, :] < seqlen))
        acc_k = tl.dot(d_s, queries, acc_k)
    d_k += offset * d_k_stride + head * D
    d_v += offset * d_v_stride + head * D
    store_rows(d_k, block_start, seqlen, d_k_stride, acc_k * (scale * keep_scale), N, D)
    store_rows(d_v, block_start, seqlen, d_v_stride, acc_v * keep_scale, N, D)


@triton.jit  # type: ignore[untyped-decorator]
def _sum_by_bucket(  # type: ignore[no-untyped-def]
    d_scores, sums, least, greatest, cu_seqlens, total_tokens, num_blocks, heads, width, count, rows, columns,
    ROWS: tl.constexpr, BUCKETS: tl.constexpr, ROWS_ARE_QUERIES: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Of each token, sums its scores' gradients over the distances of each bucket.

    Only the first `rows` and `columns` of a sequence have gradients; others count as zero.
    """
    seq_start, seqlen, head, block_start = locate_block(cu_seqlens, num_blocks, heads, ROWS)
    if block_start >= seqlen:
        return
    row = block_start + tl.arange(0, ROWS)[:, None]
    bucket = tl.program_id(1) * BUCKETS + tl.arange(0, BUCKETS)[None, :]
    low = tl.load(least + bucket, mask=bucket < count, other=1)
    high = tl.load(greatest + bucket, mask=bucket < count, other=0)
    first, last = row + low, row + high
    if ROWS_ARE_QUERIES:
        first, last = row - high, row - low
    first = tl.maximum(first, 0)
    last = tl.minimum(last, tl.minimum(seqlen, columns) - 1)
    last = tl.where(row < tl.minimum(seqlen, rows), last, -1)
    d_scores = at_sequence(d_scores, head, total_tokens, seq_start, width) + row * width
    total = tl.zeros((ROWS, BUCKETS), tl.float32)
    for step in range(0, tl.max(last - first) + 1):
        total += tl.load(d_scores + first + step, mask=first + step <= last, other=0.0).to(tl.float32)
    sums = at_sequence(sums, head, total_tokens, seq_start, count) + row * count + bucket
    tl.store(sums, total.to(sums.dtype.element_ty), mask=(row < seqlen) & (bucket < count))


def query_gradient(
    d_out: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    c2p: torch.Tensor | None,
    p2c: torch.Tensor | None,
    out: torch.Tensor,
    lse: torch.Tensor,
    d_query: torch.Tensor,
    d_scores: torch.Tensor,
    call: Call,
) -> torch.Tensor:
    """Writes gradients of queries by way of keys, and of scores, shape (heads, T, width), queries in rows.

    Returns:
        What `key_gradient` needs, shape (heads, T, 2), float32.
    """
    tokens, heads, size = query.shape
    lse_delta = torch.empty(heads, tokens, 2, device=query.device, dtype=torch.float32)
    blocks = QUERY_GRADIENT[size]
    num_blocks = triton.cdiv(call.needed, blocks.queries)
    launch(
        _query_gradient, (num_blocks * heads * call.sequences,),
        query, key, value, c2p, p2c, out, d_out, lse, lse_delta, d_query, d_scores, call.cu_seqlens, *call.dropout,
        *call.table, call.scale, tokens, num_blocks, heads, d_scores.shape[2],
        query.stride(0), key.stride(0), value.stride(0), out.stride(0), d_out.stride(0), d_query.stride(0),
        C2P=c2p is not None, P2C=p2c is not None, DROP=call.dropout_p > 0, D=size, **blocks.options,
    )  # fmt: skip
    return lse_delta


def key_gradient(
    d_out: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    c2p: torch.Tensor | None,
    p2c: torch.Tensor | None,
    lse_delta: torch.Tensor,
    d_key: torch.Tensor,
    d_value: torch.Tensor,
    d_scores: torch.Tensor,
    call: Call,
) -> None:
    """Writes gradients of keys by way of queries, of values, and of scores, shape (heads, T, width), keys in rows."""
    tokens, heads, size = query.shape
    blocks = KEY_GRADIENT[size]
    num_blocks = triton.cdiv(call.max_seqlen, blocks.keys)
    launch(
        _key_gradient, (num_blocks * heads * call.sequences,),
        query, key, value, c2p, p2c, d_out, lse_delta, d_key, d_value, d_scores, call.cu_seqlens, *call.dropout,
        *call.table, call.scale, tokens, num_blocks, heads, d_scores.shape[2], call.needed,
        query.stride(0), key.stride(0), value.stride(0), d_out.stride(0), d_key.stride(0), d_value.stride(0),
        C2P=c2p is not None, P2C=p2c is not None, DROP=call.dropout_p > 0, D=size, **blocks.options,
    )  # fmt: skip


def sum_by_bucket(
    d_scores: torch.Tensor,
    sums: torch.Tensor,
    least: torch.Tensor,
    greatest: torch.Tensor,
    rows_are_queries: bool,
    call: Call,
) -> None:
    """Sums gradients of scores to those of the products that they were looked up in.

    Args:
        d_scores: shape (heads, T, width).
        sums: written, shape (heads, T, buckets), contiguous.
        least: as in `Distances`.
        greatest: as there.
        rows_are_queries: and columns are keys; else the other way round.
        call: what else there is to know.
    """
    heads, tokens, width = d_scores.shape
    rows, buckets = SUMS
    num_blocks = triton.cdiv(call.max_seqlen, rows)
    limits = (call.needed, call.max_seqlen) if rows_are_queries else (call.max_seqlen, call.needed)
    launch(
        _sum_by_bucket, (num_blocks * heads * call.sequences, triton.cdiv(call.count, buckets)),
        d_scores, sums, least, greatest, call.cu_seqlens, tokens, num_blocks, heads, width, call.count, *limits,
        ROWS=rows, BUCKETS=buckets, ROWS_ARE_QUERIES=rows_are_queries,
    )  # fmt: skip
