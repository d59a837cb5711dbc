"""DeBERTa's disentangled self-attention among packed sequences as Triton kernels. For CUDA devices.

Tokens' products with the positions are made anew in the backward pass, so that between the passes nothing is kept but
what every attention keeps. No result is added up by atomics: the same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from tuneoff.training.kernels.attention_backward import empty_gradients
from tuneoff.training.kernels.disentangled_backward import key_gradient, query_gradient, sum_by_bucket
from tuneoff.training.kernels.disentangled_forward import disentangled_forward
from tuneoff.training.kernels.disentangled_tiles import Call
from tuneoff.training.kernels.distances import Distances

WORKSPACE = 64 << 20
"""Bytes that an array of products may take; where all heads' would take more, a few are computed at a time."""
ALIGN = 8
"""Elements that rows of gradients of scores are a multiple of, so that they start where wide loads can."""


class _Disentangled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        position_key: torch.Tensor | None,
        position_query: torch.Tensor | None,
        distances: Distances | None,
        call: Call,
    ) -> torch.Tensor:
        out = torch.empty(query.shape, device=query.device, dtype=query.dtype)
        lse = torch.empty(query.shape[1], len(query), device=query.device, dtype=torch.float32)
        for group in _groups(query, call):
            q, k, v, o = (part[:, group] for part in (query, key, value, out))
            c2p, p2c = _products(q, position_key, group), _products(k, position_query, group)
            disentangled_forward(q, k, v, c2p, p2c, o, lse[group], replace(call, first_head=group.start))
        ctx.save_for_backward(query, key, value, position_key, position_query, out, lse)
        ctx.rest = distances, call
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, position_key, position_query, out, lse = ctx.saved_tensors
        distances, call = ctx.rest
        (d_out,) = gradients
        if not _has_heads_side_by_side(d_out):
            d_out = d_out.contiguous()
        d_query, d_key, d_value = empty_gradients(query, key, value)
        d_position_key, d_position_query = (
            torch.empty_like(part) if part is not None and needs else None
            for part, needs in zip((position_key, position_query), ctx.needs_input_grad[3:5], strict=True)
        )
        if call.needed < call.max_seqlen:
            d_query.zero_()
        for group in _groups(query, call):
            q, k, v, o, d_o, d_q, d_k, d_v = (
                part[:, group] for part in (query, key, value, out, d_out, d_query, d_key, d_value)
            )
            here = replace(call, first_head=group.start)
            c2p, p2c = _products(q, position_key, group), _products(k, position_query, group)
            width = -(-call.max_seqlen // ALIGN) * ALIGN
            d_scores = torch.empty(q.shape[1], len(q), width, device=q.device, dtype=q.dtype)
            lse_delta = query_gradient(d_o, q, k, v, c2p, p2c, o, lse[group], d_q, d_scores, here)
            if c2p is not None:
                d_c2p = torch.empty_like(c2p)
                sum_by_bucket(d_scores, d_c2p, distances.least, distances.greatest, True, here)
                _back_through_products(d_c2p, q, position_key, d_q, d_position_key, group, call)
                del d_c2p
            key_gradient(d_o, q, k, v, c2p, p2c, lse_delta, d_k, d_v, d_scores, here)
            if p2c is not None:  # it is not needed any more, so that its gradient may lie in its place
                sum_by_bucket(d_scores, p2c, distances.least, distances.greatest, False, here)
                _back_through_products(p2c, k, position_query, d_k, d_position_query, group, call)
        return d_query, d_key, d_value, d_position_key, d_position_query, None, None


def disentangled_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    position_key: torch.Tensor | None,
    position_query: torch.Tensor | None,
    distances: Distances | None,
    cu_seqlens: torch.Tensor,
    max_seqlen: int,
    scale: float,
    dropout_p: float,
    seed: torch.Tensor,
    salt: int,
    needed: int | None = None,
) -> torch.Tensor:
    """Attention among the tokens of each packed sequence, by what they say and by how far apart they are.

    A score is `scale` times the sum of query times key, query times `position_key` of the bucket of their distance, and
    key times `position_query` of that bucket.

    Args:
        query: shape (T, heads, head size), of a head size in `ATTENTION_HEAD_SIZES`.
        key: the same shape.
        value: the same shape.
        position_key: keys of the buckets of `distances`, shape (buckets, heads, head size); None for none.
        position_query: queries of these buckets; likewise.
        distances: of at least `max_seqlen` tokens; None where neither is given.
        cu_seqlens: where each sequence starts, and the end (T), int32; sequences may be empty.
        max_seqlen: at least the tokens of the longest sequence.
        scale: of the scores, above zero.
        dropout_p: probability of dropping an attention weight; the others are scaled by 1 / (1 - p).
        seed: shape (), int64, on the same device; read when the kernels run, so that a CUDA graph sees its changes.
        salt: added to the seed.
        needed: the result is read for so many leading tokens of each sequence, and undefined for others; all when None.

    Returns:
        Shape (T, heads, head size), contiguous.
    """
    assert scale > 0
    assert distances is None or max_seqlen <= distances.reach
    query, key, value = (part if _has_heads_side_by_side(part) else part.contiguous() for part in (query, key, value))
    looked_in, reach, count = (cu_seqlens, 1, 1) if distances is None else (
        distances.buckets, distances.reach, distances.count
    )  # fmt: skip
    needed = min(needed or max_seqlen, max_seqlen)
    call = Call(cu_seqlens, seed, looked_in, reach, count, max_seqlen, needed, scale, dropout_p, salt)
    out: torch.Tensor = _Disentangled.apply(  # type: ignore[no-untyped-call]
        query, key, value, position_key, position_query, distances, call
    )
    return out


def _has_heads_side_by_side(tensor: torch.Tensor) -> bool:
    return tensor.stride(2) == 1 and tensor.stride(1) == tensor.shape[2]


def _groups(query: torch.Tensor, call: Call) -> Iterator[slice]:
    """Heads that are computed together, equally many at a time but for the last ones."""
    tokens, heads, _ = query.shape
    bytes_a_head = tokens * max(call.count, call.max_seqlen) * query.element_size()
    turns = min(heads, -(-heads * bytes_a_head // WORKSPACE))
    size = -(-heads // max(turns, 1))
    for first in range(0, heads, size):
        yield slice(first, min(first + size, heads))


def _products(tokens: torch.Tensor, positions: torch.Tensor | None, group: slice) -> torch.Tensor | None:
    """Of each token with each position, shape (heads of the group, T, buckets)."""
    if positions is None:
        return None
    return torch.bmm(tokens.transpose(0, 1), positions[:, group].permute(1, 2, 0))


def _back_through_products(
    d_products: torch.Tensor,
    tokens: torch.Tensor,
    positions: torch.Tensor,
    d_tokens: torch.Tensor,
    d_positions: torch.Tensor | None,
    group: slice,
    call: Call,
) -> None:
    """Adds to the gradient of tokens, and writes that of the positions of a group of heads where that is wanted."""
    factor = call.scale * call.keep_scale
    d_tokens.transpose(0, 1).baddbmm_(d_products, positions[:, group].transpose(0, 1), alpha=factor)
    if d_positions is not None:
        found = torch.bmm(d_products.transpose(1, 2), tokens.transpose(0, 1))
        d_positions[:, group] = (found * factor).transpose(0, 1)
