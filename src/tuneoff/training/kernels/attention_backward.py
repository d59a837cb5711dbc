"""The backward pass of attention among packed sequences. For CUDA devices.

Two kernels: one holds queries and walks over keys, the other holds keys and walks over queries. Both compute scores
anew, which costs two of seven matrix products; one kernel for all would have programs add to the same gradients by
atomics, in an order that changes, and so would the bits.

Source: Dao et al. 2022 (FlashAttention), algorithm 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.attention_tiles import (
    KEY_GRADIENT,
    QUERY_GRADIENT,
    Options,
    is_visible,
    keep_mask,
    keys_seen,
    load_rows,
    locate_block,
    store_rows,
)
from tuneoff.training.kernels.launch import launch
from tuneoff.training.kernels.shared_linear import are_side_by_side


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _add_to_queries(  # type: ignore[no-untyped-def]
    d_q, q, d_out, lse, delta, k, v, block_start, key_start, seq_start, seqlen, head, window, scale_log2, seed,
    threshold, k_stride, v_stride, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, MASKED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Adds what a block of keys gives to the queries' gradient."""
    keys = load_rows(k, key_start, seqlen, k_stride, N, D, MASKED)
    values = load_rows(v, key_start, seqlen, v_stride, N, D, MASKED)
    scores = tl.dot(q, tl.trans(keys))
    d_p = tl.dot(d_out, tl.trans(values))
    p = tl.exp2(scores * scale_log2 - lse[:, None])
    if MASKED:
        query, key = block_start + tl.arange(0, M)[:, None], key_start + tl.arange(0, N)[None, :]
        p = tl.where(is_visible(query, key, seqlen, window, CAUSAL, WINDOW), p, 0.0)
    if DROP:
        d_p = tl.where(keep_mask(seed, seq_start, head, block_start, key_start, threshold, M, N, False), d_p, 0.0)
    return tl.dot((p * (d_p - delta[:, None])).to(keys.dtype), keys, d_q)


@triton.jit  # type: ignore[untyped-decorator]
def _query_gradient(  # type: ignore[no-untyped-def]
    q, k, v, out, d_out, lse, lse_delta, d_q, cu_seqlens, seed, salt, threshold, keep_scale, scale, total_tokens,
    num_blocks, heads, window, q_stride, q_head, k_stride, k_head, v_stride, v_head, d_stride, d_head, d_q_stride,
    GROUP: tl.constexpr, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, SPLIT: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Also writes `lse_delta` for the other kernel: of each query, its lse and delta, side by side for one load.

    Delta, the sum of a query's result times its gradient, is what softmax's gradient takes off the query's row. Results
    hold the factor of what dropout keeps, gradients of weights here do not: it is divided out, and comes in at the end.
    """
    seq_start, seqlen, head, block_start = locate_block(cu_seqlens, num_blocks, heads, M)
    if block_start >= seqlen:
        return
    begin, whole, whole_end, end = keys_seen(block_start, seqlen, window, M, N, CAUSAL, WINDOW)
    offset = seq_start.to(tl.int64)
    q += offset * q_stride + head * q_head
    k += offset * k_stride + head // GROUP * k_head
    v += offset * v_stride + head // GROUP * v_head
    d_out += offset * d_stride + head * d_head
    out += (offset * heads + head) * D
    d_q += offset * d_q_stride + head * D
    step_seed = 0
    if DROP:
        step_seed = tl.load(seed) + salt
    queries = load_rows(q, block_start, seqlen, q_stride, M, D, True)
    gradient = load_rows(d_out, block_start, seqlen, d_stride, M, D, True)
    output = load_rows(out, block_start, seqlen, heads * D, M, D, True)
    row = block_start + tl.arange(0, M)
    delta = tl.sum(gradient.to(tl.float32) * output.to(tl.float32), 1) / keep_scale
    # Infinite beyond the end, so that weights are zero there.
    row_lse = tl.load(lse + head * total_tokens + seq_start + row, mask=row < seqlen, other=float("inf"))
    pair = 2 * (head * total_tokens + seq_start + row[:, None]) + tl.arange(0, 2)[None, :]
    tl.store(lse_delta + pair, tl.join(row_lse, delta), mask=row[:, None] < seqlen)
    scale_log2 = scale * 1.4426950408889634
    acc = tl.zeros((M, D), tl.float32)
    if not SPLIT:
        whole_end = begin
    if SPLIT and WINDOW:
        for key in range(begin, whole, N):
            acc = _add_to_queries(
                acc, queries, gradient, row_lse, delta, k, v, block_start, key, seq_start, seqlen, head, window,
                scale_log2, step_seed, threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
            )  # fmt: skip
    if SPLIT:
        for key in range(whole, whole_end, N):
            acc = _add_to_queries(
                acc, queries, gradient, row_lse, delta, k, v, block_start, key, seq_start, seqlen, head, window,
                scale_log2, step_seed, threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, False,
            )  # fmt: skip
    for key in range(whole_end, end, N):
        acc = _add_to_queries(
            acc, queries, gradient, row_lse, delta, k, v, block_start, key, seq_start, seqlen, head, window,
            scale_log2, step_seed, threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
        )  # fmt: skip
    store_rows(d_q, block_start, seqlen, d_q_stride, acc * (scale * keep_scale), M, D)


@triton.jit  # type: ignore[untyped-decorator]
def _queries_seeing(  # type: ignore[no-untyped-def]
    block_start, seqlen, needed, window,
    M: tl.constexpr, N: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """For a block of keys, among needed queries: first that sees any, first and end of the blocks that see all, end."""
    end = (tl.minimum(seqlen, needed) + M - 1) // M * M
    begin, whole, whole_end = 0, 0, end
    if WINDOW:
        begin = tl.maximum(block_start - window + 1, 0) // M * M
        whole = (tl.maximum(block_start + N - window, 0) + M - 1) // M * M
        end = tl.minimum(end, block_start + N - 1 + window)
        whole_end = tl.minimum(whole_end, (block_start + window) // M * M)
    if CAUSAL:
        begin = block_start // M * M
        whole = (block_start + N - 1 + M - 1) // M * M
    whole = tl.maximum(tl.minimum(whole, end), begin)
    return begin, whole, tl.maximum(whole_end, whole), end


@triton.jit  # type: ignore[untyped-decorator]
def _add_to_keys(  # type: ignore[no-untyped-def]
    d_k, d_v, k, v, q, d_out, lse_delta, block_start, query_start, seq_start, seqlen, head, window, scale_log2, seed,
    threshold, q_stride, d_stride, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, MASKED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Adds what a block of queries gives to the gradients of keys and values.

    Tiles of scores are keys by queries, so that no product needs a transposed tile of weights.
    """
    queries = load_rows(q, query_start, seqlen, q_stride, M, D, True)
    gradient = load_rows(d_out, query_start, seqlen, d_stride, M, D, True)
    # Beyond the end weights are zero. Keys beyond it get gradients that nobody stores.
    row = query_start + tl.arange(0, M)
    pair = 2 * row[:, None] + tl.arange(0, 2)[None, :]
    lse, delta = tl.split(tl.load(lse_delta + pair, mask=row[:, None] < seqlen, other=float("inf")))
    delta = tl.where(row < seqlen, delta, 0.0)
    p = tl.exp2(tl.dot(k, tl.trans(queries)) * scale_log2 - lse[None, :])
    if MASKED:
        key = block_start + tl.arange(0, N)[:, None]
        p = tl.where(is_visible(row[None, :], key, seqlen, window, CAUSAL, WINDOW), p, 0.0)
    d_p = tl.dot(v, tl.trans(gradient))
    dropped_p = p
    if DROP:
        kept = keep_mask(seed, seq_start, head, query_start, block_start, threshold, M, N, True)
        dropped_p = tl.where(kept, p, 0.0)
        d_p = tl.where(kept, d_p, 0.0)
    d_v = tl.dot(dropped_p.to(gradient.dtype), gradient, d_v)
    d_k = tl.dot((p * (d_p - delta[None, :])).to(queries.dtype), queries, d_k)
    return d_k, d_v


@triton.jit  # type: ignore[untyped-decorator]
def _key_gradient(  # type: ignore[no-untyped-def]
    q, k, v, d_out, lse_delta, d_k, d_v, cu_seqlens, seed, salt, threshold, keep_scale, scale, total_tokens, num_blocks,
    heads, needed, window, q_stride, q_head, k_stride, k_head, v_stride, v_head, d_stride, d_head, d_k_stride,
    GROUP: tl.constexpr, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """A program goes over all heads of queries that share its head of keys, so that their sum needs no atomics."""
    seq_start, seqlen, kv_head, block_start = locate_block(cu_seqlens, num_blocks, heads // GROUP, N)
    if block_start >= seqlen:
        return
    begin, whole, whole_end, end = _queries_seeing(block_start, seqlen, needed, window, M, N, CAUSAL, WINDOW)
    offset = seq_start.to(tl.int64)
    keys = load_rows(k + offset * k_stride + kv_head * k_head, block_start, seqlen, k_stride, N, D, True)
    values = load_rows(v + offset * v_stride + kv_head * v_head, block_start, seqlen, v_stride, N, D, True)
    q += offset * q_stride
    d_out += offset * d_stride
    lse_delta += 2 * seq_start
    step_seed = 0
    if DROP:
        step_seed = tl.load(seed) + salt
    scale_log2 = scale * 1.4426950408889634
    acc_k = tl.zeros((N, D), tl.float32)
    acc_v = tl.zeros((N, D), tl.float32)
    for head in range(kv_head * GROUP, kv_head * GROUP + GROUP):
        q_here, d_here, terms = q + head * q_head, d_out + head * d_head, lse_delta + 2 * head * total_tokens
        if WINDOW or CAUSAL:
            for query in range(begin, whole, M):
                acc_k, acc_v = _add_to_keys(
                    acc_k, acc_v, keys, values, q_here, d_here, terms, block_start, query, seq_start, seqlen, head,
                    window, scale_log2, step_seed, threshold, q_stride, d_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
                )  # fmt: skip
        for query in range(whole, whole_end, M):
            acc_k, acc_v = _add_to_keys(
                acc_k, acc_v, keys, values, q_here, d_here, terms, block_start, query, seq_start, seqlen, head,
                window, scale_log2, step_seed, threshold, q_stride, d_stride, M, N, D, CAUSAL, WINDOW, DROP, False,
            )  # fmt: skip
        if WINDOW:
            for query in range(whole_end, end, M):
                acc_k, acc_v = _add_to_keys(
                    acc_k, acc_v, keys, values, q_here, d_here, terms, block_start, query, seq_start, seqlen, head,
                    window, scale_log2, step_seed, threshold, q_stride, d_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
                )  # fmt: skip
    d_offset = offset * d_k_stride + kv_head * D
    store_rows(d_k + d_offset, block_start, seqlen, d_k_stride, acc_k * (scale * keep_scale), N, D)
    store_rows(d_v + d_offset, block_start, seqlen, d_k_stride, acc_v * keep_scale, N, D)


def attention_backward(
    d_out: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    cu_seqlens: torch.Tensor,
    seed: torch.Tensor,
    options: Options,
) -> Sequence[torch.Tensor]:
    """Gradients of query, key and value, given that of the result, shape (T, heads, head size)."""
    if d_out.stride(2) != 1:
        d_out = d_out.contiguous()
    tokens, heads, size = query.shape
    kv_heads = key.shape[1]
    lse_delta = torch.empty(heads, tokens, 2, device=query.device, dtype=torch.float32)
    d_query, d_key, d_value = empty_gradients(query, key, value)
    if options.needed < options.max_seqlen:
        d_query.zero_()
    strides = [stride for tensor in (query, key, value, d_out) for stride in tensor.stride()[:2]]
    constants = options.constants(query, key)
    sequences = len(cu_seqlens) - 1
    blocks = QUERY_GRADIENT[size]
    num_blocks = triton.cdiv(options.needed, blocks.queries)
    launch(
        _query_gradient, (num_blocks * heads * sequences,),
        query, key, value, out, d_out, lse, lse_delta, d_query, cu_seqlens, *options.dropout(seed), options.scale,
        tokens, num_blocks, heads, options.window or 0, *strides, d_query.stride(0), **constants, **blocks.options,
        SPLIT=blocks.split,
    )  # fmt: skip
    blocks = KEY_GRADIENT[size]
    num_blocks = triton.cdiv(options.max_seqlen, blocks.keys)
    launch(
        _key_gradient, (num_blocks * kv_heads * sequences,),
        query, key, value, d_out, lse_delta, d_key, d_value, cu_seqlens, *options.dropout(seed), options.scale,
        tokens, num_blocks, heads, options.needed, options.window or 0, *strides, d_key.stride(0), **constants,
        **blocks.options,
    )  # fmt: skip
    return d_query, d_key, d_value


def empty_gradients(*inputs: torch.Tensor) -> Sequence[torch.Tensor]:
    """Side by side in one array where the inputs themselves are, so that a product made at once goes back at once."""
    heads_adjoin = all(tensor.stride(1) == tensor.shape[2] for tensor in inputs)
    if heads_adjoin and are_side_by_side([tensor.flatten(1) for tensor in inputs]):
        tokens, _, size = inputs[0].shape
        heads = [tensor.shape[1] for tensor in inputs]
        joint = torch.empty(tokens, sum(heads), size, device=inputs[0].device, dtype=inputs[0].dtype)
        return joint.split(heads, dim=1)
    return [torch.empty(tensor.shape, device=tensor.device, dtype=tensor.dtype) for tensor in inputs]
