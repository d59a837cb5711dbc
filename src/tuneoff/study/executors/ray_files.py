"""Files on their way through Ray's object store: in pieces, so that a large one is never in memory as a whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.files import canonical_hash, replacing_directory

PIECE_BYTES = 64 << 20

Piece = NDArray[np.uint8]
Files = dict[str, list[Piece]]
"""Contents by relative path. Ray ships arrays without copying them into a pickle."""


@dataclass(frozen=True)
class Sent:
    """A file in the object store: its size in bytes, and references to its pieces."""

    size: int
    pieces: list[Any]


@dataclass(frozen=True)
class Folder:
    """A folder in the object store, which a node fetches once.

    Attributes:
        key: hash of its names and contents.
        files: by relative path.
    """

    key: str
    files: dict[str, Sent]


def read_pieces(path: Path) -> Iterator[Piece]:
    """The content of a file, piece by piece."""
    with path.open("rb") as handle:
        while len(piece := np.fromfile(handle, np.uint8, PIECE_BYTES)):
            yield piece


def write_pieces(path: Path, pieces: Iterable[Piece]) -> None:
    """Writes a file, and the folders that it is in where they are absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        for piece in pieces:
            handle.write(piece.data)


def read_files(folder: Path, paths: Iterable[Path]) -> Files:
    """The contents of those of the files that are there."""
    return {str(path.relative_to(folder)): list(read_pieces(path)) for path in paths if path.is_file()}


def send_folder(ray: Any, folder: Path, paths: Iterable[Path]) -> Folder:
    """Puts files of a folder into the object store."""
    files, hashes = {}, {}
    for path in paths:
        digest = hashlib.sha256()
        pieces = []
        for piece in read_pieces(path):
            digest.update(piece.data)
            pieces.append(ray.put(piece))
        name = str(path.relative_to(folder))
        files[name] = Sent(path.stat().st_size, pieces)
        hashes[name] = digest.hexdigest()
    return Folder(canonical_hash(hashes), files)


def unpack(ray: Any, folder: Folder) -> Path:
    """Where a folder is on this node; fetched first where it is not there or no longer whole.

    Runs that start at the same time on a node wait for the one that fetches.

    Raises:
        UserError: where another user owns the place.
        OSError: where it cannot be written.
    """
    cache = Path(tempfile.gettempdir()) / f"tuneoff-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    if cache.lstat().st_uid != os.getuid():
        raise UserError(f"{cache} belongs to another user")
    place = cache / folder.key
    with filelock.FileLock(cache / f"{folder.key}.lock"):
        if not _is_whole(place, folder):
            with replacing_directory(place) as temporary:
                for name, sent in folder.files.items():
                    write_pieces(temporary / name, (ray.get(piece) for piece in sent.pieces))
    return place


def _is_whole(place: Path, folder: Folder) -> bool:
    """Whether all files are there; the system may tidy up old ones in a temporary folder."""
    try:
        return all((place / name).stat().st_size == sent.size for name, sent in folder.files.items())
    except FileNotFoundError:
        return False
