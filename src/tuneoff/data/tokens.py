"""Tokenised splits: flat arrays with offsets, written piece by piece, memory-mapped by every run."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.long_texts import OVER_WINDOWS, LongTexts, OverWindows
from tuneoff.data.encode import Encoded
from tuneoff.models.virtual_tokens import NO_VIRTUAL_TOKENS, VirtualTokens

HEADER_BYTES = 128
JOINED_AT_ONCE = 10_000
"""Examples whose tokens are copied at a time."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of one split.

    Attributes:
        ids: all token ids end to end, int32, shape (tokens,).
        offsets: where each text starts, and the end, int64, shape (examples + 1,).
        labels: codes of labels, int64, shape (examples,).
        second_starts: tokens of each text before those of its second one, int32, shape (examples,); its
            length where it has no second text, or the model does not tell them apart. None stands for that of all.
        virtual: tokens that stand in each sequence beside those of its text; they are not in `ids` and `offsets`.
        windows: where each window starts that texts are read in, one or more a text, and the end, int64, shape
            (windows + 1,). None where a text is one sequence.
        over_windows: what becomes of the logits of a text's windows.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    second_starts: NDArray[np.int32] | None = None
    virtual: VirtualTokens = NO_VIRTUAL_TOKENS
    windows: NDArray[np.int64] | None = None
    over_windows: OverWindows = "mean"

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property  # each step asks for it
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, those of all its windows together, shape (examples,)."""
        return np.diff(self.offsets) + len(self.virtual.ids) * self.sequences

    @cached_property
    def sequences(self) -> NDArray[np.int64]:
        """Sequences, which a model computes apart, of each text: its windows, or one, shape (examples,)."""
        return np.diff(self._first_windows)

    @cached_property
    def _first_windows(self) -> NDArray[np.int64]:
        """Which window each text starts with, and how many there are, shape (examples + 1,)."""
        return np.arange(len(self) + 1) if self.windows is None else np.searchsorted(self.windows, self.offsets)

    @cached_property
    def by_sequence(self) -> Tokens:
        """The same with each window as a text of its own, which has the label of the text that it is of."""
        if self.windows is None:
            return self
        labels = np.repeat(self.labels, self.sequences)
        return Tokens(self.ids, self.windows, labels, virtual=self.virtual)

    def sequences_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers in `by_sequence` of the sequences of some texts, in their order."""
        if self.windows is None:
            return rows
        firsts = self._first_windows[rows]
        counts = self._first_windows[rows + 1] - firsts
        return np.arange(counts.sum()) + np.repeat(firsts - (np.cumsum(counts) - counts), counts)

    def text_of(self, sequence: int) -> int:
        """Which text a sequence is of."""
        return int(np.searchsorted(self._first_windows, sequence, side="right")) - 1

    def ids_of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The token ids of some texts end to end, in the order of `rows`, shape (their tokens,)."""
        if self.windows is not None:
            return self.by_sequence.ids_of(self.sequences_of(rows))
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        begins = np.cumsum(lengths) - lengths  # of each among those that are returned
        ids = self.ids[np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)]
        virtual = self.virtual.ids
        if not virtual:
            return ids
        places = begins + np.minimum(self.virtual.place, lengths)
        return np.insert(ids, np.repeat(places, len(virtual)), np.tile(virtual, len(rows)))

    def take(self, rows: NDArray[np.int64]) -> Tokens:
        """The tokens of some texts, in the order of `rows`, copied into memory."""
        second_starts = None if self.second_starts is None else self.second_starts[rows]
        windows = None
        if self.windows is not None:
            windows = _ends(self.by_sequence.lengths[self.sequences_of(rows)])
        return Tokens(
            self.ids_of(rows),
            _ends(self.lengths[rows]),
            self.labels[rows],
            second_starts,
            windows=windows,
            over_windows=self.over_windows,
        )

    def with_virtual(self, virtual: VirtualTokens) -> Tokens:
        """The same texts, with virtual tokens in each."""
        seconds = None if self.second_starts is None else self.second_starts + np.int32(len(virtual.ids))
        return replace(self, second_starts=seconds, virtual=virtual)

    @classmethod
    def load(cls, folder: Path, long_texts: LongTexts = "head") -> Tokens:
        """Maps the arrays that a `TokensWriter` wrote into memory, read-only.

        Args:
            folder: of the arrays.
            long_texts: what was read of long texts.
        """
        optional = [name for name in ("second_starts", "windows") if (folder / f"{name}.npy").exists()]
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "offsets", "labels", *optional)
        }
        return cls(**arrays, over_windows=OVER_WINDOWS.get(long_texts, "mean"))

    @classmethod
    def of(cls, encoded: Encoded, long_texts: LongTexts) -> Tokens:
        """Those of texts without labels, which are all 0."""
        windowed = long_texts in OVER_WINDOWS
        return cls(
            encoded.ids,
            _ends(encoded.lengths),
            np.zeros(len(encoded.lengths), dtype=np.int64),
            None if windowed else encoded.second_starts,
            windows=_ends(encoded.windows) if windowed else None,
            over_windows=OVER_WINDOWS.get(long_texts, "mean"),
        )

    def encoded(self, lost: NDArray[np.int32]) -> Encoded:
        """The same as it was encoded, of tokens without virtual ones.

        Args:
            lost: tokens of each text that go unread, shape (examples,).
        """
        lengths = self.lengths.astype(np.int32)
        return Encoded(
            self.ids[self.offsets[0] : self.offsets[-1]],
            lengths,
            lengths if self.second_starts is None else self.second_starts,
            lost,
            self.by_sequence.lengths.astype(np.int32),
        )


def joined(tokens: Sequence[Tokens]) -> Tokens:
    """Texts end to end, which are all read in windows, or none of them."""
    seconds = [each.second_starts for each in tokens if each.second_starts is not None]
    windowed = tokens[0].windows is not None
    return Tokens(
        np.concatenate([each.ids for each in tokens]),
        _ends(np.concatenate([each.lengths for each in tokens])),
        np.concatenate([each.labels for each in tokens]),
        np.concatenate(seconds) if seconds else None,
        windows=_ends(np.concatenate([each.by_sequence.lengths for each in tokens])) if windowed else None,
        over_windows=tokens[0].over_windows,
    )


def _ends(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each begins, and the end, of what lies end to end."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


class TokensWriter:
    """Writes the tokens of one split to .npy files as they come.

    Args:
        folder: is made, and those that it is in.
        pairs: whether examples have second texts that the model is to tell apart.
        windows: whether texts are read in windows.
    """

    def __init__(self, folder: Path, pairs: bool, windows: bool, open_file: ExitStack) -> None:
        folder.mkdir(parents=True)
        self._ids = _Array(open_file.enter_context((folder / "ids.npy").open("wb")), "<i4")
        self._offsets = _Array(open_file.enter_context((folder / "offsets.npy").open("wb")), "<i8")
        self._labels = _Array(open_file.enter_context((folder / "labels.npy").open("wb")), "<i8")
        self._seconds = (
            _Array(open_file.enter_context((folder / "second_starts.npy").open("wb")), "<i4") if pairs else None
        )
        self._windows = _Array(open_file.enter_context((folder / "windows.npy").open("wb")), "<i8") if windows else None
        for array in (self._offsets, self._windows):
            if array is not None:
                array.append(np.zeros(1, dtype=np.int64))

    @property
    def _arrays(self) -> list[_Array]:
        arrays = (self._ids, self._offsets, self._labels, self._seconds, self._windows)
        return [array for array in arrays if array is not None]

    @property
    def tokens(self) -> int:
        """Tokens written."""
        return self._ids.count

    @property
    def digest(self) -> str:
        """A hash of all that was written."""
        return hashlib.sha256(b"".join(array.digest.digest() for array in self._arrays)).hexdigest()

    def append(self, encoded: Encoded, labels: NDArray[np.int32] | NDArray[np.int64]) -> None:
        """Writes some more examples."""
        before = self._ids.count
        offsets = before + np.cumsum(encoded.lengths, dtype=np.int64)
        for array, values in (
            (self._ids, encoded.ids),
            (self._offsets, offsets),
            (self._labels, labels.astype(np.int64)),
            (self._seconds, encoded.second_starts),
            (self._windows, before + np.cumsum(encoded.windows, dtype=np.int64)),
        ):
            if array is not None:
                array.append(values)

    def finish(self) -> None:
        """Completes the files' headers."""
        for array in self._arrays:
            array.finish()


@contextmanager
def writing_tokens(folder: Path, pairs: bool, windows: bool) -> Iterator[TokensWriter]:
    """A `TokensWriter` whose files are whole after the block."""
    with ExitStack() as files:
        writer = TokensWriter(folder, pairs, windows, files)
        yield writer
        writer.finish()


def write_joined(splits: Sequence[Tokens], folder: Path) -> None:
    """Writes the tokens of several splits end to end, some thousand examples at a time."""
    pairs = any(split.second_starts is not None for split in splits)
    windows = any(split.windows is not None for split in splits)
    with writing_tokens(folder, pairs, windows) as writer:
        for split in splits:
            for start in range(0, len(split), JOINED_AT_ONCE):
                some = split.take(np.arange(start, min(start + JOINED_AT_ONCE, len(split))))
                writer.append(some.encoded(np.zeros(len(some), dtype=np.int32)), some.labels)


class _Array:
    """A one-dimensional .npy file that grows; its header has a fixed size and is written again at the end."""

    def __init__(self, handle: BinaryIO, kind: str) -> None:
        self._handle = handle
        self._kind = kind
        self.count = 0
        self.digest = hashlib.sha256()
        handle.write(self._header())

    def append(self, values: NDArray[np.generic]) -> None:
        content = np.ascontiguousarray(values, dtype=self._kind).tobytes()
        self._handle.write(content)
        self.digest.update(content)
        self.count += len(values)

    def finish(self) -> None:
        self._handle.seek(0)
        self._handle.write(self._header())

    def _header(self) -> bytes:
        """NumPy's format 1.0 (numpy.lib.format), padded to `HEADER_BYTES`."""
        text = f"{{'descr': '{self._kind}', 'fortran_order': False, 'shape': ({self.count},), }}"
        room = HEADER_BYTES - 10
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", room) + text.ljust(room - 1).encode() + b"\n"
