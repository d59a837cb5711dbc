"""How long a trained model takes to classify one text."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.data.tokens import Tokens
    from tuneoff.training.engines.base import Engine

MOST_EXAMPLES = 30


@dataclass(frozen=True)
class Latency:
    """Seconds to classify one text, over texts from the shortest to the longest: median, and what 95% stay below."""

    median: float
    p95: float


def inference_latency(engine: Engine, tokens: Tokens) -> Latency | None:
    """The time to classify one text of a split, as a batch of one, from tokens in memory to logits in memory.

    Up to 30 examples are timed, from the shortest to the longest in even steps of rank. Each is classified once
    before, so that no kernel is compiled or loaded while the clock runs.

    Args:
        engine: trained; texts go the way that they go when it evaluates, and the device is waited for.
        tokens: the split.

    Returns:
        None for a run on several devices, none of which works alone.
    """
    if engine.ranks.world_size > 1:
        return None
    rows = spread_by_length(tokens.lengths, MOST_EXAMPLES)
    for row in rows:
        engine.classify(tokens, row[None])
    seconds = []
    for row in rows:
        started = time.perf_counter()
        engine.classify(tokens, row[None])
        seconds.append(time.perf_counter() - started)
    return Latency(float(np.median(seconds)), float(np.quantile(seconds, 0.95)))


def spread_by_length(lengths: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` different rows, from the shortest to the longest, in even steps of rank."""
    ranks = np.linspace(0, len(lengths) - 1, min(most, len(lengths))).round().astype(np.int64)
    rows: NDArray[np.int64] = np.argsort(lengths, kind="stable")[ranks]
    return rows
