"""DeBERTa's attention among packed sequences, by PyTorch's operations. For CPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tuneoff.training.kernels.distances import Distances


class _OneByOne(torch.autograd.Function):
    """Its backward pass adds to the positions' gradients in place, where PyTorch's would make one a sequence."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        position_key: torch.Tensor | None,
        position_query: torch.Tensor | None,
        distances: Distances | None,
        lengths: Sequence[int],
        scale: float,
        needed: int | None,
    ) -> torch.Tensor:
        q, k, v, p_k, p_q = _wide(query, key, value, position_key, position_query)
        out = torch.zeros_like(q)
        weights = []
        for seen, span, used, buckets in _sequences(lengths, needed, distances):
            scores = q[:, seen] @ k[:, span].transpose(1, 2)
            if p_k is not None:
                scores += (q[:, seen] @ p_k[:, used].transpose(1, 2)).gather(2, buckets.expand_as(scores))
            if p_q is not None:
                by_key = k[:, span] @ p_q[:, used].transpose(1, 2)
                scores += by_key.gather(2, buckets.t().expand(len(k), -1, -1)).transpose(1, 2)
            weights.append(scores.mul_(scale).softmax(-1))
            out[:, seen] = weights[-1] @ v[:, span]
        ctx.save_for_backward(query, key, value, position_key, position_query, *weights)
        ctx.rest = distances, lengths, scale, needed
        return out.transpose(0, 1).to(query.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, position_key, position_query, *every_weights = ctx.saved_tensors  # to be asked for once
        distances, lengths, scale, needed = ctx.rest
        d_out, q, k, v, p_k, p_q = _wide(gradients[0], query, key, value, position_key, position_query)
        results: list[Any] = [None if part is None else torch.zeros_like(part) for part in (q, k, v, p_k, p_q)]
        d_q, d_k, d_v, d_p_k, d_p_q = results
        sequences = zip(_sequences(lengths, needed, distances), every_weights, strict=True)
        for (seen, span, used, buckets), weights in sequences:
            d_v[:, span] = weights.transpose(1, 2) @ d_out[:, seen]
            d_weights = d_out[:, seen] @ v[:, span].transpose(1, 2)
            d_weights -= (weights * d_weights).sum(-1, keepdim=True)
            d_scores = d_weights.mul_(weights).mul_(scale)
            d_q[:, seen] = d_scores @ k[:, span]
            d_k[:, span] = d_scores.transpose(1, 2) @ q[:, seen]
            if p_k is not None:
                summed = d_scores.new_zeros(len(q), len(buckets), used.stop - used.start)
                summed.scatter_add_(2, buckets.expand_as(d_scores), d_scores)
                d_q[:, seen] += summed @ p_k[:, used]
                d_p_k[:, used] += summed.transpose(1, 2) @ q[:, seen]
            if p_q is not None:
                summed = d_scores.new_zeros(len(k), buckets.shape[1], used.stop - used.start)
                summed.scatter_add_(2, buckets.t().expand(len(k), -1, -1), d_scores.transpose(1, 2))
                d_k[:, span] += summed @ p_q[:, used]
                d_p_q[:, used] += summed.transpose(1, 2) @ k[:, span]
        dtype = gradients[0].dtype
        return *(None if part is None else part.transpose(0, 1).to(dtype) for part in results), None, None, None, None


def _wide(*parts: torch.Tensor | None) -> list[Any]:
    """With heads first, in float32 also where the model is in bfloat16, whose small products are no faster on CPUs."""
    return [None if part is None else part.detach().float().transpose(0, 1).contiguous() for part in parts]


def _sequences(
    lengths: Sequence[int], needed: int | None, distances: Distances | None
) -> Iterator[tuple[slice, slice, slice, torch.Tensor]]:
    """Of each sequence: its needed tokens, all of its tokens, its buckets, and which of these each pair falls into."""
    start = 0
    for length in lengths:
        count = min(length, needed or length)
        used, buckets = slice(0), torch.empty(0, dtype=torch.int64)
        if distances is not None:
            place = distances.reach - 1 + torch.arange(count)[:, None] - torch.arange(length)
            buckets = distances.buckets[place].long()
            used = slice(int(buckets[0, -1]), int(buckets[-1, 0]) + 1)
            buckets -= used.start
        yield slice(start, start + count), slice(start, start + length), used, buckets
        start += length


def disentangled_attention_one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    position_key: torch.Tensor | None,
    position_query: torch.Tensor | None,
    distances: Distances | None,
    lengths: Sequence[int],
    scale: float,
    needed: int | None = None,
) -> torch.Tensor:
    """The same as `disentangled_attention`, of sequences of the given lengths, and without dropout.

    Returns:
        Shape (T, heads, head size); zeros for tokens beyond those that are needed.
    """
    out: torch.Tensor = _OneByOne.apply(  # type: ignore[no-untyped-call]
        query, key, value, position_key, position_query, distances, lengths, scale, needed
    )
    return out
