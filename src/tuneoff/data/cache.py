"""Prepared data, kept for other studies on the same data: one folder for each key, whole or absent."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tuneoff.files import expanded, file_hash, flush, read_json, write_json

MANIFEST = "manifest.json"
"""Hashes of the other files of prepared data; written last, it makes them whole."""
PREPARED = "prepared.json"
"""What is known of prepared data."""
UNFINISHED = re.compile(r"\.[0-9a-f]+\.(\d+)\.tmp")


def cache_folder() -> Path:
    """Where prepared data is kept: `TUNEOFF_CACHE`, or `tuneoff` in the user's cache folder."""
    named = os.environ.get("TUNEOFF_CACHE")
    if named:
        return expanded(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuneoff"


def entry(key: str) -> Path:
    """Where data prepared under this key is kept."""
    return cache_folder() / "data" / key


def cached(key: str) -> Path | None:
    """The folder of data that was prepared under this key; one that has been changed since is removed."""
    folder = entry(key)
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
    """A folder to prepare data in. What is in it after the block is what `cached` finds; after an error nothing is."""
    data = cache_folder() / "data"
    data.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(data)
    folder = data / f".{key}.{os.getpid()}.tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        write_json(folder / MANIFEST, hashes(folder))
        for path in folder.rglob("*"):
            if path.is_file():
                flush(path)
        if (data / key).exists():  # another study has prepared the same in the meantime
            return
        folder.rename(data / key)
    except OSError as error:
        error.filename = error.filename or str(folder)  # pyarrow names none
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _remove_unfinished(data: Path) -> None:
    """Removes what killed processes have left."""
    for path in data.iterdir():
        match = UNFINISHED.fullmatch(path.name)
        if match and not psutil.pid_exists(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)
