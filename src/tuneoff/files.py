"""Atomic files: a file is either whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success flushes it to disk and renames it to `path`.

    On any error the temporary file is removed and `path` keeps what it held before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
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
