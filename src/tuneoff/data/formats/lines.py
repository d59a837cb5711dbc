"""What the readers share: lines of text files, plain or gzipped, and one-line errors for what cannot be read."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tuneoff.core.errors import UserError
from tuneoff.data.formats.encodings import likely_encoding
from tuneoff.data.formats.other_kinds import HEAD, other_kind
from tuneoff.data.formats.raw import marked_encoding, opened_bytes
from tuneoff.data.source_table import BATCH_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

Item = TypeVar("Item")
BATCH_CHARACTERS = 1 << 24
MOST_CHARACTERS = 1 << 26
"""Of a line or a cell; more would mean that a quote is not closed, or that it is no text file."""


@dataclass(frozen=True)
class OpenedFile:
    """A file whose beginning was read.

    Attributes:
        columns: their names, in order.
        tables: reads it from its beginning; every table has those columns.
        header: whether a line of it names them.
    """

    columns: tuple[str, ...]
    tables: Callable[[], Iterator[pa.Table]]
    header: bool = False


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Lines with their ends; the byte order mark is no part of the first.

    Args:
        path: of the file, gzipped where its name ends in `.gz`.
        encoding: as which it is read, unless a byte order mark says that it is UTF-8, UTF-16 or UTF-32.

    Raises:
        UserError: where the file cannot be read, is of another kind, damaged, or not in that encoding; with the line.
    """
    with opened_text(path, encoding) as text:
        number = 0
        while line := text.readline(MOST_CHARACTERS):
            number += 1
            if "\0" in line:
                raise UserError(
                    f"{path}: line {number} holds a NUL character; it is not a text file, or UTF-16 without a byte "
                    "order mark, which data.format.encoding = 'utf-16-le' or 'utf-16-be' reads"
                )
            if len(line) == MOST_CHARACTERS:
                raise UserError(f"{path}: line {number} is longer than {MOST_CHARACTERS:,} characters; is it a table?")
            yield line


@contextmanager
def opened_text(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    """Opens a text file after its byte order mark, with line ends as they are; see `read_lines`."""
    with explaining(path, encoding), opened_bytes(path) as binary:
        head = binary.peek(HEAD)[:HEAD]
        other = other_kind(head, path)
        if other is not None:
            raise UserError(f"{path}: {other}")
        with io.TextIOWrapper(binary, marked_encoding(head) or encoding, newline="") as text:
            yield text


@contextmanager
def explaining(path: Path, encoding: str = "utf-8") -> Iterator[None]:
    """Turns what the libraries raise about a broken file into a `UserError` of one line."""
    import pyarrow as pa

    try:
        yield
    except UnicodeError as error:
        raise UserError(f"{path}: {_not_encoded(path, encoding, error)}") from error
    except gzip.BadGzipFile as error:
        raise UserError(f"{path}: is not gzipped, or damaged; leave .gz out of its name or fetch it again") from error
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: is gzipped, but cut short or damaged; make or fetch it again") from error
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read: {reason}") from error


def batched(items: Iterable[tuple[Item, int]]) -> Iterator[list[Item]]:
    """Collects items, each with its size, into lists of at most `BATCH_ROWS` and about `BATCH_CHARACTERS`."""
    batch: list[Item] = []
    filled = 0
    for item, size in items:
        batch.append(item)
        filled += size
        if len(batch) == BATCH_ROWS or filled >= BATCH_CHARACTERS:
            yield batch
            batch, filled = [], 0
    if batch:
        yield batch


def _not_encoded(path: Path, encoding: str, error: UnicodeError) -> str:
    """Where a file's first byte is that is not of its encoding, and what to do."""
    with explaining(path):
        with opened_bytes(path) as binary:
            marked = marked_encoding(binary.peek(HEAD)[:HEAD])
        likely = likely_encoding(path)
    if marked not in (None, "utf-8-sig"):
        return f"is not valid {marked.upper()}, as which its byte order mark declares it; save it as UTF-8"
    setting = "data.format.encoding" if likely is None else f"data.format.encoding, probably to '{likely}'"
    if marked is None and encoding != "utf-8":
        return f"is not {encoding}, which data.format.encoding says ({error}); set {setting}"
    with opened_bytes(path) as binary:
        for number, line in enumerate(binary, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as found:
                byte, column = line[found.start], found.start + 1
                return (
                    f"line {number} is not UTF-8 (its byte {column} is 0x{byte:02X}); set {setting}, or save the file "
                    "as UTF-8"
                )
    return f"is not UTF-8; set {setting}, or save the file as UTF-8"
