"""The best rule that looks for one word of each class: learnt on training texts, tried on others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.audit.words import Words

MERGE_FROM = 4_000_000


class WordCounts:
    """In how many training texts of each class each word is."""

    def __init__(self, classes: int) -> None:
        self._texts = np.zeros(classes, dtype=np.int64)
        self._keys = np.empty(0, dtype=np.uint64)
        self._counts = np.empty(0, dtype=np.int64)
        self._waiting: list[NDArray[np.uint64]] = []

    def add(self, words: Words, labels: NDArray[np.int32]) -> None:
        """Counts some more texts; labels have the shape (texts,)."""
        classes = len(self._texts)
        self._texts += np.bincount(labels, minlength=classes)
        size = np.int64(max(len(words.spelled), 1))
        in_text = np.sort(words.texts * size + words.codes)
        in_text = in_text[np.diff(in_text, prepend=-1) != 0]
        text, code = in_text // size, in_text % size
        self._waiting.append(words.hashes[code].astype(np.uint64) * np.uint64(classes) + labels[text].astype(np.uint64))
        if sum(map(len, self._waiting)) > MERGE_FROM:
            self._merge()

    def markers(self) -> Markers:
        """The word of each class that tells it best from the others (by F1)."""
        self._merge()
        classes = len(self._texts)
        words, labels = np.divmod(self._keys, np.uint64(classes))
        starts = np.flatnonzero(np.diff(words, prepend=~words[:1]))
        in_all = (
            np.repeat(np.add.reduceat(self._counts, starts), np.diff(starts, append=len(words))) if len(words) else 0
        )
        f1 = 2 * self._counts / np.maximum(in_all + self._texts[labels.astype(np.int64)], 1)
        best = np.lexsort((words, -f1, labels))
        first = best[np.flatnonzero(np.diff(labels[best], prepend=~labels[best[:1]]))]
        order = first[np.argsort(-f1[first], kind="stable")]
        marked = np.zeros(classes, dtype=np.int64)
        marked[labels[order].astype(np.int64)] = self._counts[order]
        return Markers(
            words=words[order].astype(np.uint32),
            classes=labels[order].astype(np.int32),
            otherwise=int((self._texts - marked).argmax()),
        )

    def _merge(self) -> None:
        keys = np.concatenate([self._keys, *self._waiting])
        counts = np.concatenate([self._counts, np.ones(len(keys) - len(self._counts), dtype=np.int64)])
        self._waiting = []
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
        self._keys = keys[order][starts]
        self._counts = np.add.reduceat(counts[order], starts) if len(starts) else counts[:0]


@dataclass(frozen=True)
class Markers:
    """A rule: the class of the first of these words that is in a text, or else `otherwise`.

    Attributes:
        words: hashes, shape (markers,).
        classes: what each stands for, int32, shape (markers,).
        otherwise: the class of texts without any.
    """

    words: NDArray[np.uint32]
    classes: NDArray[np.int32]
    otherwise: int

    def apply(self, words: Words) -> tuple[NDArray[np.int64], dict[int, str]]:
        """The index in `words` of the first marker of each text (-1: none), and how the markers met are spelled."""
        order = np.argsort(self.words, kind="stable")
        rank_of = np.full(len(words.spelled), len(self.words), dtype=np.int64)
        if len(order):
            index = np.minimum(np.searchsorted(self.words[order], words.hashes), len(order) - 1)
            met = self.words[order][index] == words.hashes
            rank_of[met] = order[index[met]]
        ranks = np.full(len(words.offsets) - 1, len(self.words), dtype=np.int64)
        hit = rank_of[words.codes] < len(self.words)
        np.minimum.at(ranks, words.texts[hit], rank_of[words.codes[hit]])
        spelled = {int(rank_of[code]): words.spelled[code] for code in np.flatnonzero(rank_of < len(self.words))}
        return np.where(ranks == len(self.words), -1, ranks), spelled

    def guesses(self, ranks: NDArray[np.int64]) -> NDArray[np.int32]:
        """Classes of texts by what `apply` says of them, shape (texts,)."""
        if not len(self.classes):
            return np.full(len(ranks), self.otherwise, dtype=np.int32)
        return np.where(ranks < 0, np.int32(self.otherwise), self.classes[ranks])
