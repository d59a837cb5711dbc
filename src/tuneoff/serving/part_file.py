"""A long file that is written piece by piece, and goes on after an interruption: `labels.csv.part` beside it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from tuneoff.core.errors import UserError
from tuneoff.core.files import write_json

CHECKPOINT_SECONDS = 2.0


@dataclass
class Done:
    """What a part file holds.

    Attributes:
        rows: of the input that are in it.
        content: bytes of it that are whole.
        without_text: rows that got no label.
        first_without: where the first of them is.
    """

    rows: int = 0
    content: int = 0
    without_text: int = 0
    first_without: str | None = None


class PartFile:
    """The part of a file that is there, with its bookkeeping in `labels.csv.part.json`; see `writing_on`."""

    def __init__(self, path: Path, handle: BinaryIO, request: Mapping[str, str], done: Done) -> None:
        self.path = path
        self.done = done
        self._handle = handle
        self._request = dict(request)
        self._kept_at = monotonic()
        handle.truncate(done.content)
        handle.seek(done.content)

    def append(self, content: bytes, rows: int, without_text: int = 0, first_without: str | None = None) -> None:
        """Adds what some more rows became; now and then, what is there is made to outlast a crash."""
        self._handle.write(content)
        self.done = Done(
            self.done.rows + rows,
            self.done.content + len(content),
            self.done.without_text + without_text,
            self.done.first_without or first_without,
        )
        if monotonic() - self._kept_at > CHECKPOINT_SECONDS:
            self.keep()

    def keep(self) -> None:
        """Makes what is there outlast a crash."""
        self._handle.flush()
        os.fsync(self._handle.fileno())
        write_json(_bookkeeping(self.path), {"request": self._request, "done": vars(self.done)})
        self._kept_at = monotonic()


@contextmanager
def writing_on(out: Path, request: Mapping[str, str]) -> Iterator[PartFile]:
    """Opens the part of a file, to go on where it ends; after an error it stays for the same request.

    Args:
        out: the file, which is not there yet.
        request: hashes of all that decides its content, by the words for them.

    Raises:
        UserError: where the part is of another request, of another program, or is being written by another process; or
            the disk cannot be written.
    """
    path = part_of(out)
    try:
        done = _done_before(path, request)
        if not path.exists():
            write_json(_bookkeeping(path), {"request": dict(request), "done": vars(done)})
        with path.open("ab") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{out}: another process is writing it") from error
            if handle.tell() < done.content:
                raise UserError(f"{path}: is shorter than it was; remove it to begin anew")
            part = PartFile(path, handle, request, done)
            try:
                yield part
            except BaseException:
                with suppress(OSError):
                    if part.done.rows:
                        part.keep()
                    else:  # there is nothing to go on from, and it would be in the way of a mended input
                        remove(path)
                raise
            part.keep()
    except OSError as error:
        reason = f"{out}: {os.strerror(error.errno) if error.errno else error}"
        if not path.is_file():
            raise UserError(reason) from error
        raise UserError(f"{reason}; what is done is kept in {path}, and the same command goes on from there") from error


def finish(path: Path, out: Path) -> None:
    """Gives a part its final name."""
    path.replace(out)
    _bookkeeping(path).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a part whose content is elsewhere."""
    path.unlink()
    _bookkeeping(path).unlink(missing_ok=True)


def part_of(out: Path) -> Path:
    """Where the part of a file is."""
    return out.with_name(f"{out.name}.part")


def _bookkeeping(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _done_before(path: Path, request: Mapping[str, str]) -> Done:
    kept = _bookkeeping(path)
    if not path.exists():
        return Done()
    try:
        stored = json.loads(kept.read_text(encoding="utf-8"))
        done, before = Done(**stored["done"]), stored["request"]
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: is there, and not from tuneoff; remove it, or name another file with --out"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{kept}: is damaged; remove it and {path} to begin anew") from error
    changed = [word for word, value in request.items() if before.get(word) != value]
    if changed:
        raise UserError(
            f"{path}: was begun with {' and '.join(f'another {word}' for word in changed)}; remove it to begin anew"
        )
    return done
