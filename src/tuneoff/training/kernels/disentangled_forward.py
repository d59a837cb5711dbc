"""The forward pass of DeBERTa's attention among packed sequences. For CUDA devices.

Sources: He et al. 2021 (DeBERTa), section 3.1, for the scores; Dao et al. 2022 (FlashAttention), algorithm 1.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.attention_tiles import keep_mask, load_rows, locate_block, store_rows
from tuneoff.training.kernels.disentangled_tiles import FORWARD, Call, add_positions, at_sequence
from tuneoff.training.kernels.launch import launch


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    q, k, v, c2p, p2c, out, lse, cu_seqlens, seed, salt, threshold, keep_scale, first_head, buckets, centre, count,
    scale, total_tokens, num_blocks, heads, q_stride, k_stride, v_stride, out_stride,
    C2P: tl.constexpr, P2C: tl.constexpr, DROP: tl.constexpr,  # noqa: N803
    D: tl.constexpr, M: tl.constexpr, N: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Also writes `lse`, the base-2 logarithm of each query's sum of exponentials: all that backward needs of softmax.

    Each token's heads lie side by side in all arrays. Sums are in float32; exponentials are to base 2, as the hardware
    has them, and the highest score so far is subtracted from scores, as in the kernels of other models' attention.
    """
    seq_start, seqlen, head, block_start = locate_block(cu_seqlens, num_blocks, heads, M)
    if block_start >= seqlen:
        return
    offset = seq_start.to(tl.int64)  # tokens times strides pass 2^31
    q += offset * q_stride + head * D
    k += offset * k_stride + head * D
    v += offset * v_stride + head * D
    if C2P:
        c2p = at_sequence(c2p, head, total_tokens, seq_start, count)
    if P2C:
        p2c = at_sequence(p2c, head, total_tokens, seq_start, count)
    scale *= 1.4426950408889634
    step_seed = 0
    if DROP:
        step_seed = tl.load(seed) + salt
    queries = load_rows(q, block_start, seqlen, q_stride, M, D, True)
    acc = tl.zeros((M, D), tl.float32)
    row_max = tl.full((M,), float("-inf"), tl.float32)
    row_sum = tl.zeros((M,), tl.float32)
    for key_start in range(0, seqlen, N):
        scores = tl.dot(queries, tl.trans(load_rows(k, key_start, seqlen, k_stride, N, D, True)))
        scores = add_positions(
            scores, c2p, p2c, buckets, centre, count, block_start, key_start, seqlen, M, N, C2P, P2C, True
        )
        key = key_start + tl.arange(0, N)[None, :]
        scores = tl.where(key < seqlen, scores * scale, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        p = tl.exp2(scores - new_max[:, None])
        rescale = tl.exp2(row_max - new_max)
        row_sum = row_sum * rescale + tl.sum(p, 1)
        row_max = new_max
        if DROP:  # after the sum of weights: softmax is over all keys, dropped or not
            kept = keep_mask(step_seed, seq_start, first_head + head, block_start, key_start, threshold, M, N, False)
            p = tl.where(kept, p, 0.0)
        values = load_rows(v, key_start, seqlen, v_stride, N, D, True)
        acc = tl.dot(p.to(values.dtype), values, acc * rescale[:, None])
    out += offset * out_stride + head * D
    store_rows(out, block_start, seqlen, out_stride, acc * (keep_scale / row_sum)[:, None], M, D)
    row = block_start + tl.arange(0, M)
    tl.store(lse + head * total_tokens + seq_start + row, row_max + tl.log2(row_sum), mask=row < seqlen)


def disentangled_forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    c2p: torch.Tensor | None,
    p2c: torch.Tensor | None,
    out: torch.Tensor,
    lse: torch.Tensor,
    call: Call,
) -> None:
    """Writes the result and each query's log-sum-exp to base 2.

    Args:
        query: shape (T, heads, head size), a token's heads side by side.
        key: likewise.
        value: likewise.
        c2p: products of queries with positions' keys, shape (heads, T, buckets), contiguous; None for none.
        p2c: of keys with positions' queries; likewise.
        out: like `query`.
        lse: shape (heads, T), float32.
        call: what else there is to know.
    """
    tokens, heads, size = query.shape
    blocks = FORWARD[size]
    num_blocks = triton.cdiv(call.needed, blocks.queries)
    launch(
        _forward, (num_blocks * heads * call.sequences,),
        query, key, value, c2p, p2c, out, lse, call.cu_seqlens, *call.dropout, *call.table, call.scale, tokens,
        num_blocks, heads, query.stride(0), key.stride(0), value.stride(0), out.stride(0),
        C2P=c2p is not None, P2C=p2c is not None, DROP=call.dropout_p > 0, D=size, **blocks.options,
    )  # fmt: skip
