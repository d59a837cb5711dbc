"""Texts as hashed words, computed by Arrow for some thousand texts at a time."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CHARACTERS = 8_000
"""Of a text that are looked at word by word."""
NO_WORD = r"[^\pL\pN\pM]+"
UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
"""Scripts without spaces between words: each character stands for a word."""


@dataclass(frozen=True)
class Words:
    """The words of some texts, one text after the other.

    Attributes:
        spelled: each different word once.
        codes: index into `spelled` of every word, int32, shape (words,).
        offsets: where each text begins in `codes`, and the end, int64, shape (texts + 1,).
        hashes: of `spelled`, the same in every run, uint32.
    """

    spelled: list[str]
    codes: NDArray[np.int32]
    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint32]

    @property
    def hashed(self) -> NDArray[np.uint32]:
        """The hash of every word, shape (words,)."""
        return self.hashes[self.codes]

    @property
    def texts(self) -> NDArray[np.int64]:
        """Which text each word is of, shape (words,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def words_of(texts: pa.Array) -> Words:
    """Words without regard to case, punctuation and ways of writing the same letter."""
    import pyarrow.compute as pc

    texts = pc.utf8_normalize(pc.utf8_lower(_cut(texts)), "NFKC")
    texts = pc.replace_substring_regex(texts, NO_WORD, " ")
    if pc.any(pc.match_substring_regex(texts, UNSPACED)).as_py():
        texts = pc.replace_substring_regex(texts, UNSPACED, r" \1 ")
    return _split(texts)


def tokens_of(texts: pa.Array) -> Words:
    """What stands between spaces, punctuation and all, without regard to case."""
    import pyarrow.compute as pc

    return _split(pc.utf8_lower(_cut(texts)))


def _cut(texts: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.utf8_slice_codeunits(texts, 0, MOST_CHARACTERS)


def _split(texts: pa.Array) -> Words:
    import pyarrow.compute as pc

    lists = pc.utf8_split_whitespace(texts)
    encoded = lists.flatten().dictionary_encode()
    spelled: list[str] = encoded.dictionary.to_pylist()
    codes = encoded.indices.to_numpy()
    offsets = lists.offsets.to_numpy().astype(np.int64)
    offsets = offsets - offsets[0]
    blank = np.array([not word for word in spelled], dtype=bool)
    if blank.any():  # what stands beside spaces at either end
        kept = ~blank[codes]
        offsets = np.concatenate([[0], np.cumsum(kept)])[offsets]
        codes = codes[kept]
    return Words(spelled, codes, offsets, hashes_of(spelled))


def hashes_of(words: list[str]) -> NDArray[np.uint32]:
    """CRC-32 of some words; a collision among a million is one in some thousand, and does no harm."""
    return np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], dtype=np.uint32)
