"""Self-attention among packed sequences as Triton kernels, with dropout that stores no mask. For CUDA devices.

No result is added up by atomics: the same input gives the same bits.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from tuneoff.training.kernels.attention_backward import attention_backward
from tuneoff.training.kernels.attention_forward import attention_forward
from tuneoff.training.kernels.attention_tiles import Options


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cu_seqlens: torch.Tensor,
        seed: torch.Tensor,
        options: Options,
    ) -> torch.Tensor:
        out, lse = attention_forward(query, key, value, cu_seqlens, seed, options)
        ctx.save_for_backward(query, key, value, out, lse, cu_seqlens, seed)
        ctx.options = options
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, out, lse, cu_seqlens, seed = ctx.saved_tensors
        found = attention_backward(gradients[0], query, key, value, out, lse, cu_seqlens, seed, ctx.options)
        return *found, None, None, None


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seqlens: torch.Tensor,
    max_seqlen: int,
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
        query: shape (T, heads, head size), of a head size in `ATTENTION_HEAD_SIZES`; strided, but for the last one.
        key: shape (T, key-value heads, head size), the number of heads a divisor of the query's.
        value: like `key`.
        cu_seqlens: where each sequence starts, and the end (T), int32; sequences may be empty.
        max_seqlen: at least the tokens of the longest sequence.
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
    query, key, value = (tensor if tensor.stride(2) == 1 else tensor.contiguous() for tensor in (query, key, value))
    needed = min(needed or max_seqlen, max_seqlen)
    options = Options(max_seqlen, needed, scale, causal, window, dropout_p, salt)
    out: torch.Tensor = _Attention.apply(query, key, value, cu_seqlens, seed, options)  # type: ignore[no-untyped-call]
    return out
