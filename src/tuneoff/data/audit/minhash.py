"""Near duplicates by MinHash (Broder 1997) and banding (Indyk and Motwani 1998), vectorised over texts.

Why not a library: docs/decisions/008-near-duplicates.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.audit.words import Words

PERMUTATIONS = 128
BANDS = 32
"""Of four permutations each: texts with 70% in common meet in one of them with a probability above 99.9%."""
SHINGLE = 3
ALIKE = 0.7
"""Share of common three-word sequences (Jaccard's index) from which texts are near duplicates."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX = np.uint64(0xBF58476D1CE4E5B9)


def signatures(columns: Sequence[Words]) -> NDArray[np.uint32]:
    """For each text, or pair of texts, the lowest hash of its three-word sequences under each permutation.

    Args:
        columns: the words of the texts, and where examples are pairs, of the second texts; each has an equal number of
            the permutations.

    Returns:
        Shape (texts, PERMUTATIONS).
    """
    each = PERMUTATIONS // len(columns)
    return np.concatenate([_lowest(words, each) for words in columns], axis=1)


def similar_pairs(signed: NDArray[np.uint32], columns: int) -> NDArray[np.int64]:
    """Pairs of texts that are near duplicates by their signatures, each text with earlier ones.

    Of many texts that are all alike, each is paired with the first and the one before it, so that the work grows with
    the number of texts only.

    Args:
        signed: of all texts, shape (texts, PERMUTATIONS).
        columns: 2 where examples are pairs of texts, both of which must be alike, otherwise 1.

    Returns:
        Indices of texts, the earlier first, each pair once, shape (pairs, 2).
    """
    found = []
    for band in range(BANDS):
        # Every band has permutations of both columns.
        key = np.zeros(len(signed), dtype=np.uint64)
        for column in range(band, PERMUTATIONS, BANDS):
            key = (key ^ signed[:, column]) * GOLDEN
            key ^= key >> np.uint64(32)
        order = np.argsort(key, kind="stable")
        new = np.diff(key[order], prepend=~key[order[:1]]) != 0
        first = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
        later = np.flatnonzero(~new)
        found += [np.stack([first[later], order[later]], axis=1), np.stack([order[later - 1], order[later]], axis=1)]
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[_likeness(signed, pairs, columns) >= ALIKE]


def _likeness(signed: NDArray[np.uint32], pairs: NDArray[np.int64], columns: int) -> NDArray[np.float64]:
    """Estimates of the Jaccard similarity of each pair, of the column that is less alike, shape (pairs,)."""
    likeness = np.empty(len(pairs))
    for start in range(0, len(pairs), 10_000):
        chunk = pairs[start : start + 10_000]
        equal = signed[chunk[:, 0]] == signed[chunk[:, 1]]
        likeness[start : start + len(chunk)] = equal.reshape(len(chunk), columns, -1).mean(axis=2).min(axis=1)
    return likeness


def _lowest(words: Words, permutations: int) -> NDArray[np.uint32]:
    hashes, starts = _shingles(words)
    lowest = np.empty((len(starts), permutations), dtype=np.uint32)
    seeds = np.arange(1, permutations + 1, dtype=np.uint64) * GOLDEN
    for index, seed in enumerate(seeds):
        mixed = (hashes ^ np.uint32(seed >> np.uint64(32))) * (np.uint32(seed & np.uint64(0xFFFFFFFF)) | np.uint32(1))
        mixed ^= mixed >> np.uint32(15)
        mixed *= np.uint32(0x85EBCA6B)
        mixed ^= mixed >> np.uint32(13)
        lowest[:, index] = np.minimum.reduceat(mixed, starts)
    return lowest


def _shingles(words: Words) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Hashes of all three words in a row within a text (of all its words where it has fewer), and each text's first."""
    counts = np.diff(words.offsets)
    lengths = np.maximum(counts - SHINGLE + 1, 1)
    starts = np.cumsum(lengths) - lengths
    within = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    left = np.repeat(counts, lengths) - within
    positions = np.repeat(words.offsets[:-1], lengths) + within
    hashed = np.concatenate([words.hashed.astype(np.uint64) + np.uint64(1), np.zeros(SHINGLE, dtype=np.uint64)])
    shingles = np.zeros(len(positions), dtype=np.uint64)
    for step in range(SHINGLE):
        shingles = (shingles ^ np.where(step < left, hashed[positions + step], np.uint64(0))) * GOLDEN
        shingles ^= shingles >> np.uint64(29)
        shingles *= MIX
    return (shingles >> np.uint64(32)).astype(np.uint32), starts
