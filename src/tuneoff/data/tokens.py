"""Tokenised splits: flat arrays with offsets, written piece by piece, memory-mapped by every run."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

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
        offsets: where each sequence starts, and the end, int64, shape (examples + 1,).
        labels: class indices, int64, shape (examples,).
        second_starts: tokens of each sequence before those of its second text, int32, shape (examples,); its
            length where it has no second text, or the model does not tell them apart. None stands for that of all.
        virtual: tokens that stand in each sequence beside those of its text; they are not in `ids` and `offsets`.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    second_starts: NDArray[np.int32] | None = None
    virtual: VirtualTokens = NO_VIRTUAL_TOKENS

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sequence, shape (examples,)."""
        return np.diff(self.offsets) + len(self.virtual.ids)

    def ids_of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The token ids of some sequences end to end, in the order of `rows`, shape (their tokens,)."""
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
        """The tokens of some sequences, in the order of `rows`, copied into memory."""
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.lengths[rows])])
        second_starts = None if self.second_starts is None else self.second_starts[rows]
        return Tokens(self.ids_of(rows), offsets, self.labels[rows], second_starts)

    def with_virtual(self, virtual: VirtualTokens) -> Tokens:
        """The same texts, with virtual tokens in each."""
        seconds = None if self.second_starts is None else self.second_starts + np.int32(len(virtual.ids))
        return replace(self, second_starts=seconds, virtual=virtual)

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        """Maps the arrays that a `TokensWriter` wrote into memory, read-only."""
        names = ["ids", "offsets", "labels", *(["second_starts"] if (folder / "second_starts.npy").exists() else [])]
        return cls(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names})


class TokensWriter:
    """Writes the tokens of one split to .npy files as they come.

    Args:
        folder: is made, and those that it is in.
        pairs: whether examples have second texts that the model is to tell apart.
    """

    def __init__(self, folder: Path, pairs: bool, open_file: ExitStack) -> None:
        folder.mkdir(parents=True)
        self._ids = _Array(open_file.enter_context((folder / "ids.npy").open("wb")), "<i4")
        self._offsets = _Array(open_file.enter_context((folder / "offsets.npy").open("wb")), "<i8")
        self._labels = _Array(open_file.enter_context((folder / "labels.npy").open("wb")), "<i8")
        self._seconds = (
            _Array(open_file.enter_context((folder / "second_starts.npy").open("wb")), "<i4") if pairs else None
        )
        self._offsets.append(np.zeros(1, dtype=np.int64))

    @property
    def tokens(self) -> int:
        """Tokens written."""
        return self._ids.count

    @property
    def digest(self) -> str:
        """A hash of all that was written."""
        arrays = (self._ids, self._offsets, self._labels, self._seconds)
        return hashlib.sha256(b"".join(array.digest.digest() for array in arrays if array is not None)).hexdigest()

    def append(self, encoded: Encoded, labels: NDArray[np.int32] | NDArray[np.int64]) -> None:
        """Writes some more examples."""
        offsets = self._ids.count + np.cumsum(encoded.lengths, dtype=np.int64)
        for array, values in (
            (self._ids, encoded.ids),
            (self._offsets, offsets),
            (self._labels, labels.astype(np.int64)),
            (self._seconds, encoded.second_starts),
        ):
            if array is not None:
                array.append(values)

    def finish(self) -> None:
        """Completes the files' headers."""
        for array in (self._ids, self._offsets, self._labels, self._seconds):
            if array is not None:
                array.finish()


@contextmanager
def writing_tokens(folder: Path, pairs: bool) -> Iterator[TokensWriter]:
    """A `TokensWriter` whose files are whole after the block."""
    with ExitStack() as files:
        writer = TokensWriter(folder, pairs, files)
        yield writer
        writer.finish()


def write_joined(splits: Sequence[Tokens], folder: Path) -> None:
    """Writes the tokens of several splits end to end, some thousand examples at a time."""
    pairs = any(split.second_starts is not None for split in splits)
    with writing_tokens(folder, pairs) as writer:
        for split in splits:
            for start in range(0, len(split), JOINED_AT_ONCE):
                rows = slice(start, start + JOINED_AT_ONCE)
                offsets = split.offsets[start : start + JOINED_AT_ONCE + 1]
                lengths = np.diff(offsets).astype(np.int32)
                seconds = lengths if split.second_starts is None else split.second_starts[rows]
                encoded = Encoded(split.ids[offsets[0] : offsets[-1]], lengths, seconds, np.zeros_like(lengths))
                writer.append(encoded, split.labels[rows])


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
