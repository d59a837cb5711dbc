"""DeBERTa's attention among packed sequences, by PyTorch's operations. For CPUs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from tuneoff.training.kernels.distances import Distances


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
    pieces = []
    # In float32 also where the model is in bfloat16: CPUs multiply such small matrices no faster in bfloat16.
    sequences = zip(
        *(part.float().transpose(0, 1).split(list(lengths), dim=1) for part in (query, key, value)), strict=True
    )
    by_position = [None if part is None else part.float().transpose(0, 1) for part in (position_key, position_query)]
    for q, k, v in sequences:
        length = k.shape[1]
        q = q[:, :needed]
        scores = q @ k.transpose(1, 2)
        if distances is not None:
            centre = distances.reach - 1
            bucket = distances.buckets[centre + torch.arange(q.shape[1])[:, None] - torch.arange(length)].long()
            used = slice(int(bucket[0, -1]), int(bucket[-1, 0]) + 1)
            bucket = bucket - used.start
            p_k, p_q = (None if part is None else part[:, used].transpose(1, 2) for part in by_position)
            if p_k is not None:
                scores = scores + (q @ p_k).gather(2, bucket.expand_as(scores))
            if p_q is not None:
                bucket = bucket.t().expand(len(k), -1, -1)
                scores = scores + (k @ p_q).gather(2, bucket).transpose(1, 2)
        piece = (scores * scale).softmax(-1) @ v
        pieces.append(pad(piece, (0, 0, 0, length - q.shape[1])))
    return torch.cat(pieces, dim=1).transpose(0, 1).to(query.dtype)
