"""Atomic files: a file is either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tuneoff.core.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EACCES)
"""A disk that is full or failing, or that may not be written: other writes would fail as well."""
TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
"""The names of temporary files and folders; they end in the number of the process that writes them."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success flushes it to disk and renames it to `path`.

    On any error the temporary file is removed and `path` keeps what it held before. An error of the operating system
    that names no file, or the temporary one, names `path` instead.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary), temporary):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


class Writer:
    """A file for libraries to write into, which would otherwise hide what the operating system says of a full disk."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.error: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Writes it all; after an error, which stays in `error`, nothing more is written."""
        if self.error is None:
            try:
                self._handle.write(content)
            except OSError as error:
                self.error = error
        return len(content)

    def flush(self) -> None:
        """Does nothing: `writing` flushes."""


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Like `replacing`, with the temporary file opened for a library to write into."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        writer = Writer(handle)
        yield writer
        if writer.error is not None:
            raise writer.error


def expanded(name: str) -> Path:
    """A path as the user wrote it, with `~` for a home.

    Raises:
        UserError: where there is no such home, or the name is no text.
    """
    try:
        name.encode()
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UserError(f"'{name}': there is no such home folder") from error
    except UnicodeEncodeError as error:
        raise UserError(f"{name!a} is no valid name: it holds bytes that are not UTF-8") from error


def cache_folder() -> Path:
    """Where what can be made again is kept: `TUNEOFF_CACHE`, or `tuneoff` in the user's cache folder."""
    named = os.environ.get("TUNEOFF_CACHE")
    if named:
        return expanded(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuneoff"


def is_disk_trouble(error: BaseException) -> bool:
    """Whether an error says that the disk cannot be written, so that every other write would fail as well."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return True
    return any(os.strerror(number) in str(error) for number in DISK_ERRORS)  # safetensors' errors are texts


def remove_temporaries(folder: Path) -> None:
    """Removes what killed processes left half-written in a folder, not below it."""
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if TEMPORARY.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def flush(path: Path) -> None:
    """Writes a file through to the disk."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically. Not-a-number values are refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file. Raises `OSError` or `json.JSONDecodeError`."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """Like `replacing`, for a whole directory; what `path` held before is removed on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                file.chmod(temporary.stat().st_mode & 0o666)  # libraries make files that only their owner may read
                flush(file)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        if error.filename in (str(temporary), temporary):
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def canonical_hash(value: Any) -> str:
    """SHA-256 (hex) of a JSON value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def folder_bytes(path: Path) -> int:
    """Sum of the sizes of all files under `path`, in bytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def once(path: Path, make: Callable[[], Any]) -> Any:
    """The JSON value stored at `path`, made and stored first where it is absent."""
    if not path.exists():
        write_json(path, make())
    return read_json(path)
