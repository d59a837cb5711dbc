"""In which order examples are seen: a function of seed and epoch alone, so that it is the same for every arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneoff.spec import TrainingSpec

POOL_BATCHES = 32
"""Batches that are sorted by length together, when batches are padded."""


def epoch_batches(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int, bucketed: bool
) -> list[NDArray[np.int64]]:
    """Row numbers of each batch of one epoch, in training order; only the last drawn batch may be smaller.

    Args:
        lengths: tokens of each sequence, shape (examples,).
        batch_size: sequences a batch.
        seed: the run's seed.
        epoch: counted from 0.
        bucketed: whether each batch holds sequences of similar length (it is cut from a sorted random pool).
    """
    draw = np.random.default_rng([seed, epoch])
    order = draw.permutation(len(lengths))
    if not bucketed:
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    batches = []
    pool_size = batch_size * POOL_BATCHES
    for start in range(0, len(order), pool_size):
        pool = order[start : start + pool_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    return [batches[index] for index in draw.permutation(len(batches))]


def run_batches(
    lengths: NDArray[np.int64], training: TrainingSpec, seed: int, steps: int, bucketed: bool
) -> list[list[NDArray[np.int64]]]:
    """The batches of a run, epoch by epoch, as many as it has steps; a trial ends within an epoch.

    Args:
        lengths: tokens of each sequence, shape (examples,).
        training: the study's.
        seed: the run's seed.
        steps: of the run, at most those of all epochs.
        bucketed: as for `epoch_batches`.
    """
    epochs: list[list[NDArray[np.int64]]] = []
    for epoch in range(training.epochs):
        batches = epoch_batches(lengths, training.batch_size, seed, epoch, bucketed)[:steps]
        steps -= len(batches)
        epochs.append(batches)
        if not steps:
            break
    return epochs


def by_length(lengths: NDArray[np.int64], batch_tokens: int) -> list[NDArray[np.int64]]:
    """Row numbers in batches for evaluation: longest first, each batch of at most `batch_tokens` padded tokens."""
    order = np.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // int(lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches
