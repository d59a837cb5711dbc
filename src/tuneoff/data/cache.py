"""Prepared data, kept for other studies on the same data: one folder for each key, whole or absent."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from tuneoff.core.errors import UserError
from tuneoff.core.files import cache_folder, file_hash, flush, is_disk_trouble, read_json, write_json

MANIFEST = "manifest.json"
"""Hashes of the other files of prepared data; written last, it makes them whole."""
PREPARED = "prepared.json"
"""What is known of prepared data."""
UNFINISHED = re.compile(r"(\.[0-9a-f]+\.[0-9a-f]+)\.(?:tmp|lock)")
"""Names of folders in which data is being prepared, and of the locks that their processes hold."""


def entry(key: str) -> Path:
    """Where data prepared under this key is kept."""
    return cache_folder() / "data" / key


def cached(key: str) -> Path | None:
    """The folder of data that was prepared under this key; one that has been changed since is removed."""
    folder = entry(key)
    with _cache_trouble_explained():
        if folder.is_file():
            folder.unlink()
        if not folder.exists():
            return None
        if damage(folder) is None and (folder / MANIFEST).exists():
            return folder
        shutil.rmtree(folder)
    return None


@contextmanager
def preparing(key: str) -> Iterator[Path]:
    """A folder to prepare data in. What is in it after the block is what `cached` finds; after an error nothing is.

    Raises:
        UserError: where the cache cannot be written.
    """
    with _cache_trouble_explained(), _unfinished_folder(key) as folder:
        yield folder
        write_json(folder / MANIFEST, hashes(folder))
        for path in folder.rglob("*"):
            if path.is_file():
                flush(path)
        if not entry(key).exists():  # otherwise another study has prepared the same in the meantime
            folder.rename(entry(key))


def copy_prepared(source: Path, folder: Path) -> None:
    """Makes `folder` hold what `source` does, by links where both are on one disk; the manifest comes last."""
    (folder / MANIFEST).unlink(missing_ok=True)
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in [*files, source / MANIFEST]:
        _link(path, folder / path.relative_to(source))


def damage(folder: Path) -> str | None:
    """What is wrong with the files of a preparation that came to its end, if anything is."""
    try:
        expected = read_json(folder / MANIFEST)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return f"{MANIFEST} cannot be read"
    if not isinstance(expected, dict) or PREPARED not in expected:
        return f"{MANIFEST} holds no hashes"
    found = hashes(folder)
    changed = sorted(name for name in expected if expected[name] != found.get(name))
    return f"{changed[0]} is missing or has been changed" if changed else None


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of all files of prepared data but the manifest, by their names in its folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in paths}


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, temporary)
            flush(temporary)
        temporary.replace(target)
    except OSError as error:
        error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _unfinished_folder(key: str) -> Iterator[Path]:
    """A new folder, with a lock beside it that ends with the process, however it ends; none is left after the block."""
    data = cache_folder() / "data"
    data.mkdir(parents=True, exist_ok=True)
    name = data / f".{key}.{secrets.token_hex(4)}"
    lock = filelock.FileLock(f"{name}.lock")
    folder = Path(f"{name}.tmp")
    with filelock.FileLock(cache_folder() / "data.lock"):  # so that nobody takes a new lock for one that was left
        _remove_unfinished(data)
        lock.acquire()
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _remove_unfinished(data: Path) -> None:
    """Removes what killed processes have left: folders whose lock nobody holds."""
    for name in {match[1] for path in data.iterdir() if (match := UNFINISHED.fullmatch(path.name))}:
        lock = filelock.FileLock(data / f"{name}.lock", timeout=0)
        try:
            with lock:
                shutil.rmtree(data / f"{name}.tmp", ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)
        except filelock.Timeout:
            continue


@contextmanager
def _cache_trouble_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = cache_folder()
        named = None if error.filename is None else Path(os.fsdecode(error.filename))
        inside = named is not None and (named.is_relative_to(folder) or folder.is_relative_to(named))
        if not inside and (error.filename is not None or not is_disk_trouble(error)):  # pyarrow names no file
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(
            f"{error.filename or folder}: {reason}; prepared data is kept in {folder}, and the environment variable "
            "TUNEOFF_CACHE can name another folder"
        ) from error
