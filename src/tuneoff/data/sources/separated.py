"""CSV and TSV.

They are read by Python's own reader in its strict mode: the libraries that are faster guess types piece by piece, or
pass over rows that are too short and quotes that are wrong. Every cell is a text; an empty one is missing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.data.sources.lines import MOST_CHARACTERS, OpenedFile, batched, read_lines
from tuneoff.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


def open_csv(path: Path) -> OpenedFile:
    """Opens comma-separated values with a header. Raises `UserError` where rows or quotes are not as they should be."""
    return _open_separated(path, ",")


def open_tsv(path: Path) -> OpenedFile:
    """The same for cells that are separated by tabs."""
    return _open_separated(path, "\t")


def _open_separated(path: Path, separator: str) -> OpenedFile:
    header = next(_records(path, separator), (0, []))[1]
    if not header:
        raise UserError(f"{path}: is empty; its first line must name the columns")
    other = next((mark for mark in ";,\t|" if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        raise UserError(f"{path}: its cells are separated by {other!r}, not {separator!r}; save it with {separator!r}")

    def tables() -> Iterator[pa.Table]:
        import pyarrow as pa

        records = _records(path, separator)
        next(records)
        rows = (_checked(path, line, cells, header) for line, cells in records)
        for batch in batched((cells, sum(map(len, cells))) for cells in rows):
            columns = [pa.array([cell or None for cell in column], pa.string()) for column in zip(*batch, strict=True)]
            yield pa.Table.from_arrays(columns, names=header)

    return OpenedFile(tuple(header), tables)


def _records(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, the header first, each with the line it begins in."""
    csv.field_size_limit(MOST_CHARACTERS)
    reader = csv.reader(read_lines(path), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{path}: {_explained(error, line, reader.line_num)}") from error
        if cells is None:
            return
        if len(cells) > 1 or any(cell.strip() for cell in cells):
            yield line, cells


def _explained(error: csv.Error, first: int, last: int) -> str:
    if "field limit" in str(error):
        return f"a cell of the row in line {first} is longer than {MOST_CHARACTERS:,} characters; is a quote open?"
    if "end of data" in str(error):
        return f"the row that begins in line {first} opens a quote that is never closed; close it, or write it twice"
    return f"line {last} has text after a closing quote; write a quote that is part of a cell twice"


def _checked(path: Path, line: int, cells: list[str], header: Sequence[str]) -> list[str]:
    if len(cells) != len(header):
        raise UserError(
            f"{path}: the row in line {line} has {len(cells)} cells, but the header has {len(header)}; put quotes "
            "around cells that hold a separator"
        )
    return cells
