"""What the readers share: lines of text files, plain or gzipped, and one-line errors for what cannot be read."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tuneoff.data.sources import BATCH_ROWS
from tuneoff.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

Item = TypeVar("Item")
BATCH_CHARACTERS = 1 << 24
MOST_CHARACTERS = 1 << 26
"""Of a line or a cell; more would mean that a quote is not closed, or that it is no text file."""
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
OTHER_KINDS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; save it as CSV",
    b"\x1f\x8b": "gzipped; let its name end in .gz",
    b"PAR1": "a Parquet file; let its name end in .parquet",
}
"""How files of other kinds begin, and what to do about them."""


@dataclass(frozen=True)
class OpenedFile:
    """A file whose beginning was read.

    Attributes:
        columns: their names, in order.
        tables: reads it from its beginning; every table has those columns.
    """

    columns: tuple[str, ...]
    tables: Callable[[], Iterator[pa.Table]]


def read_lines(path: Path) -> Iterator[str]:
    """Lines with their ends, as UTF-8, or as UTF-16 or UTF-32 where a byte order mark says so.

    Raises:
        UserError: where the file cannot be read, is of another kind, damaged, or not UTF-8; with the line.
    """
    with explaining(path), _opened(path) as binary:
        head = binary.peek(4)[:4]
        for mark, kind in OTHER_KINDS.items():
            if head.startswith(mark):
                raise UserError(f"{path}: is no text file but {kind}")
        encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8")
        number = 0
        with io.TextIOWrapper(binary, encoding, newline="") as text:
            while line := text.readline(MOST_CHARACTERS):
                number += 1
                if "\0" in line:
                    raise UserError(
                        f"{path}: line {number} holds a NUL character; it is not a text file, or UTF-16 without a byte "
                        "order mark; save it as UTF-8"
                    )
                if len(line) == MOST_CHARACTERS:
                    raise UserError(f"{path}: line {number} is longer than {MOST_CHARACTERS:,} characters")
                yield line


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turns what the libraries raise about a broken file into a `UserError` of one line."""
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {_not_utf8(path, error)}") from error
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


def _opened(path: Path) -> Any:  # a reader of bytes with `peek`
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _not_utf8(path: Path, error: UnicodeDecodeError) -> str:
    """Where a file's first byte is that no UTF-8 text has, and what to do."""
    if error.encoding not in ("utf-8", "utf-8-sig"):
        return f"is not valid {error.encoding.upper()}, as which its byte order mark declares it; save it as UTF-8"
    with _opened(path) as binary:
        for number, line in enumerate(binary, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as found:
                byte, column = line[found.start], found.start + 1
                return f"line {number} is not UTF-8 (its byte {column} is 0x{byte:02X}); save the file as UTF-8"
    return "is not UTF-8; save it as UTF-8"
