"""The forward pass of attention among packed sequences. For CUDA devices.

Source: Dao et al. 2022 (FlashAttention), algorithm 1; Milakov and Gimelshein 2018 for the running softmax.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.attention_tiles import (
    FORWARD,
    Options,
    is_visible,
    keep_mask,
    keys_seen,
    load_rows,
    locate_block,
    store_rows,
)
from tuneoff.training.kernels.launch import launch


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    acc, row_max, row_sum, q, k, v, block_start, key_start, seq_start, seqlen, head, window, scale_log2, seed,
    threshold, k_stride, v_stride, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, MASKED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Takes a block of keys into the running sum of values, highest score and sum of weights.

    Subtracting the highest score so far keeps exponentials below one; what was summed before is scaled down when a
    higher one comes. Dropout comes after the sum of weights: softmax is over all keys, dropped or not.
    """
    scores = tl.dot(q, tl.trans(load_rows(k, key_start, seqlen, k_stride, N, D, MASKED)))
    if MASKED:
        query, key = block_start + tl.arange(0, M)[:, None], key_start + tl.arange(0, N)[None, :]
        scores = tl.where(is_visible(query, key, seqlen, window, CAUSAL, WINDOW), scores, float("-inf"))
    new_max = tl.maximum(row_max, tl.max(scores, 1) * scale_log2)
    finite_max = new_max
    if WINDOW:  # a query may see no key of its first block, and -inf minus -inf is no number
        finite_max = tl.where(new_max == float("-inf"), 0.0, new_max)
    p = tl.exp2(scores * scale_log2 - finite_max[:, None])
    rescale = tl.exp2(row_max - finite_max)
    row_sum = row_sum * rescale + tl.sum(p, 1)
    if DROP:
        p = tl.where(keep_mask(seed, seq_start, head, block_start, key_start, threshold, M, N, False), p, 0.0)
    values = load_rows(v, key_start, seqlen, v_stride, N, D, MASKED)
    return tl.dot(p.to(values.dtype), values, acc * rescale[:, None]), new_max, row_sum


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    q, k, v, out, lse, cu_seqlens, seed, salt, threshold, keep_scale, scale, total_tokens, num_blocks, heads, window,
    q_stride, q_head, k_stride, k_head, v_stride, v_head,
    GROUP: tl.constexpr, D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
    CAUSAL: tl.constexpr, WINDOW: tl.constexpr, DROP: tl.constexpr, SPLIT: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Also writes `lse`, the base-2 logarithm of each query's sum of exponentials: all that backward needs of softmax.

    Exponentials are to base 2, which is what the hardware has; the scale takes in log2(e). Sums are in float32.
    """
    seq_start, seqlen, head, block_start = locate_block(cu_seqlens, num_blocks, heads, M)
    if block_start >= seqlen:
        return
    begin, whole, whole_end, end = keys_seen(block_start, seqlen, window, M, N, CAUSAL, WINDOW)
    offset = seq_start.to(tl.int64)  # tokens times strides pass 2^31
    q += offset * q_stride + head * q_head
    k += offset * k_stride + head // GROUP * k_head
    v += offset * v_stride + head // GROUP * v_head
    scale *= 1.4426950408889634
    step_seed = 0
    if DROP:
        step_seed = tl.load(seed) + salt
    queries = load_rows(q, block_start, seqlen, q_stride, M, D, True)
    acc = tl.zeros((M, D), tl.float32)
    row_max = tl.full((M,), float("-inf"), tl.float32)
    row_sum = tl.zeros((M,), tl.float32)
    if not SPLIT:
        whole_end = begin
    if SPLIT and WINDOW:
        for key in range(begin, whole, N):
            acc, row_max, row_sum = _attend(
                acc, row_max, row_sum, queries, k, v, block_start, key, seq_start, seqlen, head, window, scale,
                step_seed, threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
            )  # fmt: skip
    if SPLIT:
        for key in range(whole, whole_end, N):
            acc, row_max, row_sum = _attend(
                acc, row_max, row_sum, queries, k, v, block_start, key, seq_start, seqlen, head, window, scale,
                step_seed, threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, False,
            )  # fmt: skip
    for key in range(whole_end, end, N):
        acc, row_max, row_sum = _attend(
            acc, row_max, row_sum, queries, k, v, block_start, key, seq_start, seqlen, head, window, scale, step_seed,
            threshold, k_stride, v_stride, M, N, D, CAUSAL, WINDOW, DROP, True,
        )  # fmt: skip
    out += (offset * heads + head) * D
    store_rows(out, block_start, seqlen, heads * D, acc * (keep_scale / row_sum)[:, None], M, D)
    row = block_start + tl.arange(0, M)
    tl.store(lse + head * total_tokens + seq_start + row, row_max + tl.log2(row_sum), mask=row < seqlen)


def attention_forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seqlens: torch.Tensor,
    seed: torch.Tensor,
    options: Options,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The result, shape (T, heads, head size), and each query's log-sum-exp to base 2, shape (heads, T), float32."""
    tokens, heads, size = query.shape
    out = torch.empty(tokens, heads, size, device=query.device, dtype=query.dtype)
    lse = torch.empty(heads, tokens, device=query.device, dtype=torch.float32)
    blocks = FORWARD[size]
    num_blocks = triton.cdiv(options.needed, blocks.queries)
    launch(
        _forward, (num_blocks * heads * (len(cu_seqlens) - 1),),
        query, key, value, out, lse, cu_seqlens, *options.dropout(seed), options.scale, tokens, num_blocks, heads,
        options.window or 0, *query.stride()[:2], *key.stride()[:2], *value.stride()[:2],
        **options.constants(query, key), **blocks.options, SPLIT=blocks.split,
    )  # fmt: skip
    return out, lse
