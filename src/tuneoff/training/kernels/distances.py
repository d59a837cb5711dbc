"""DeBERTa's buckets of relative distances, as a table for one row of texts instead of one for every pair of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch

ROUND_DISTANCES, ROUND_BUCKETS = 64, 16
"""Tables are made for lengths in steps, so that few serve all; products of such widths are fast."""


def reach_of(length: int) -> int:
    """The reach of the table for texts of up to so many tokens."""
    return -(-length // ROUND_DISTANCES) * ROUND_DISTANCES


@dataclass(frozen=True)
class Distances:
    """Which bucket each distance from a query to a key of its text falls into.

    Attributes:
        buckets: of distances -(reach - 1) to reach - 1, from `start` on, never falling, shape (2 * reach - 1,), int32.
        least, greatest: the distances of each bucket, which lie side by side; where it has none, `least` is the larger
            one; shape (count,), int32.
        reach: one more than the greatest distance.
        start: the number, among the model's buckets, of the first one here.
        count: how many buckets there are here.
    """

    buckets: torch.Tensor
    least: torch.Tensor
    greatest: torch.Tensor
    reach: int
    start: int
    count: int

    @property
    def rows(self) -> slice:
        """Of the model's embeddings of distances, those that are used."""
        return slice(self.start, self.start + self.count)


@dataclass(frozen=True)
class DistanceRules:
    """How an encoder of DeBERTa-v2's numbers distances.

    Attributes:
        span: half the number of its buckets.
        log_buckets: by how many buckets they go that are wider the farther away; zero or less for one a distance.
        longest: the distance that these are spread to.
    """

    span: int
    log_buckets: int
    longest: int

    def table(self, length: int, device: torch.device) -> Distances:
        """For texts of up to so many tokens, or a few more."""
        from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

        reach = reach_of(length)
        distance = torch.arange(1 - reach, reach)
        if self.log_buckets > 0 and self.longest > 0:
            numbers = make_log_bucket_position(distance, self.log_buckets, self.longest).long()
        else:
            numbers = distance
        numbers = (numbers + self.span).clamp(0, 2 * self.span - 1)
        first, last = int(numbers[0]), int(numbers[-1])
        count = min(-(-(last - first + 1) // ROUND_BUCKETS) * ROUND_BUCKETS, 2 * self.span)
        start = min(first, 2 * self.span - count)
        buckets = numbers - start
        edges = torch.arange(count)
        least = torch.searchsorted(buckets, edges) + (1 - reach)
        greatest = torch.searchsorted(buckets, edges, right=True) - reach
        buckets, least, greatest = (tensor.to(device, torch.int32) for tensor in (buckets, least, greatest))
        return Distances(buckets, least, greatest, reach, start, count)
