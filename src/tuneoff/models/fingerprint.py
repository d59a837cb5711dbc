"""What a model folder holds, to the last bit, found out at little cost: whole hashes, of large files once."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuneoff.core.files import cache_folder, canonical_hash, file_hash, write_text

MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")
SMALL_BYTES = 32_000_000
"""Files up to this size are hashed each time, in some hundredths of a second."""
SETTLED_SECONDS = 2.0
"""The coarsest time stamps of file systems: what changed more recently may change again under the same stamp."""
SHA256 = re.compile(r"[0-9a-f]{64}")

State = tuple[int, int, int, int]
"""What of a file cannot stay the same when its content changes: size, times of change (mtime, ctime, ns), inode."""


@dataclass(frozen=True)
class Stamp:
    """A model folder as it was at one moment.

    Attributes:
        states: by name of the file.
        hashes: SHA-256 (hex) of the files, by name.
    """

    states: dict[str, State]
    hashes: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """A hash of the names and contents of all files; it is the same wherever the folder lies."""
        return canonical_hash(self.hashes)


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that a run reads: configuration, tokenizer, weights."""
    return sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()})


def stamp_folder(folder: Path) -> Stamp:
    """Hashes the files of a model folder; large ones that were hashed before and are unchanged are not read again.

    Raises:
        OSError: where a file cannot be read.
    """
    paths = model_files(folder)
    states = {path.name: _state(path) for path in paths}
    return Stamp(states, {path.name: _hash(path) for path in paths})


def changed_since(folder: Path, stamp: Stamp) -> str | None:
    """The first file of a model folder whose content is not that of `stamp`, or None.

    Files are told apart by size, times and inode, and read only where these differ, so that asking costs little.
    """
    paths = {path.name: path for path in model_files(folder)}
    for name in sorted(paths.keys() | stamp.hashes.keys()):
        if name not in paths or name not in stamp.hashes:
            return name
        if _state(paths[name]) != stamp.states[name] and _hash(paths[name]) != stamp.hashes[name]:
            return name
    return None


def _state(path: Path) -> State:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _hash(path: Path) -> str:
    before = _state(path)
    if before[0] <= SMALL_BYTES:
        return file_hash(path)
    kept = cache_folder() / "hashes" / canonical_hash([str(path.resolve()), *before])
    with suppress(OSError, UnicodeDecodeError):  # a cache that cannot be used costs time alone
        if SHA256.fullmatch(known := kept.read_text(encoding="utf-8")):
            return known
    found = file_hash(path)
    settled = time.time() - max(before[1], before[2]) / 1e9 > SETTLED_SECONDS
    if settled and _state(path) == before:
        with suppress(OSError):
            write_text(kept, found)
    return found
