"""Tokenised splits: flat arrays with offsets, stored once a study and memory-mapped by every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.files import writing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHUNK = 1000


@dataclass(frozen=True)
class Tokens:
    """The tokens of one split.

    Attributes:
        ids: all token ids end to end, int32, shape (tokens,).
        offsets: where each sequence starts, and the end, int64, shape (examples + 1,).
        labels: class indices, int64, shape (examples,).
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sequence, shape (examples,)."""
        return np.diff(self.offsets)

    def save(self, folder: Path) -> None:
        """Writes one .npy file an array, each atomically."""
        for name, array in vars(self).items():
            with writing(folder / f"{name}.npy") as writer:
                np.save(writer, array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        """Maps the arrays that `save` wrote into memory, read-only."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "offsets", "labels")))


def tokenise(
    texts: Sequence[str], labels: Sequence[int], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[Tokens, int]:
    """Tokenises texts, cut at `max_length` tokens with the model's special tokens.

    Returns:
        The tokens, and how many texts were cut.
    """
    pieces: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    cut = 0
    for start in range(0, len(texts), CHUNK):
        encoded: Any = tokenizer(
            list(texts[start : start + CHUNK]), truncation=True, max_length=max_length, return_overflowing_tokens=False
        )
        rows = encoded["input_ids"]
        lengths.extend(len(row) for row in rows)
        cut += sum(len(row) >= max_length for row in rows)
        pieces.extend(np.asarray(row, dtype=np.int32) for row in rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(np.concatenate(pieces), offsets, np.asarray(labels, dtype=np.int64)), cut
