"""Lines of cells: CSV, TSV, and what else has one character between cells.

They are read by Python's own reader in its strict mode: the libraries that are faster guess types piece by piece, or
pass over rows that are too short and quotes that are wrong. Every cell is a text; an empty one is missing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.data.formats.lines import MOST_CHARACTERS, OpenedFile, batched, read_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.data.formats.spec import FormatSpec

SEPARATORS = (",", "\t", ";", "|")
"""What usually separates cells."""
FEWEST_ROWS = 10
"""By which it can be told whether lines were swallowed."""


def open_separated(path: Path, separator: str, spec: FormatSpec) -> OpenedFile:
    """Opens lines of cells.

    Args:
        path: the file.
        separator: what separates cells.
        spec: says all else: encoding, quotes, header, names of columns.

    Raises:
        UserError: where rows or quotes are not as they should be, then or while rows are read.
    """
    first = next(read_records(path, separator, spec), (0, []))[1]
    if not first:
        raise UserError(f"{path}: is empty" + ("; its first line must name the columns" if spec.header else ""))
    _check_separator(path, separator, first, spec)
    names = _names(path, first, spec)

    def tables() -> Iterator[pa.Table]:
        import pyarrow as pa

        records = read_records(path, separator, spec)
        if spec.header:
            next(records)
        rows: Iterator[list[str]] = (_checked(path, line, cells, len(names), spec) for line, cells in records)
        if spec.quoting is None:
            rows = _refusing_swallowed_lines(path, separator, rows, spec)
        for batch in batched((cells, sum(map(len, cells))) for cells in rows):
            columns = [pa.array([cell or None for cell in column], pa.string()) for column in zip(*batch, strict=True)]
            yield pa.Table.from_arrays(columns, names=list(names))

    return OpenedFile(names, tables, header=spec.header and spec.columns is None)


def _refusing_swallowed_lines(
    path: Path, separator: str, rows: Iterator[list[str]], spec: FormatSpec
) -> Iterator[list[str]]:
    """Passes rows on, and raises `UserError` at the end where cells of several lines were probably rows.

    Stray quotes that happen to be closed lines later make one cell of what stands between them, and no error.
    """
    count, line_breaks = 0, False
    for row in rows:
        count += 1
        line_breaks = line_breaks or any("\n" in cell or "\r" in cell for cell in row)
        yield row
    if not line_breaks or count < FEWEST_ROWS:
        return
    plain = spec.model_copy(update={"quoting": "none"})
    lengths = {len(cells) for _, cells in read_records(path, separator, plain)}
    if len(lengths) == 1:
        raise UserError(
            f"{path}: quotes make single cells of several lines, each of which has as many cells as the others without "
            "them; set data.format.quoting = 'none' where quotes mean nothing, or 'standard' if it is right so"
        )


def read_records(path: Path, separator: str, spec: FormatSpec) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, a header first, each with the line it begins in.

    Raises:
        UserError: where a line cannot be read or a quote is wrong.
    """
    csv.field_size_limit(MOST_CHARACTERS)
    lines = read_lines(path, spec.encoding)
    if spec.quoting == "none":
        reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(lines, delimiter=separator, strict=True)
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
        return (
            f"a cell of the row in line {first} is longer than {MOST_CHARACTERS:,} characters; close its quote, or set "
            "data.format.quoting = 'none' where quotes mean nothing"
        )
    if "end of data" in str(error):
        return (
            f"the row that begins in line {first} opens a quote that is never closed; close it, or set "
            "data.format.quoting = 'none' where quotes mean nothing"
        )
    return (
        f"line {last} has text after a closing quote; write a quote that is part of a cell twice, or set "
        "data.format.quoting = 'none' where quotes mean nothing"
    )


def _check_separator(path: Path, separator: str, first: Sequence[str], spec: FormatSpec) -> None:
    """Refuses a first row that is separated by another character than the one that was expected."""
    if len(first) > 1:
        return
    counts = {mark: first[0].count(mark) for mark in SEPARATORS}
    other = max(counts, key=lambda mark: counts[mark])
    if counts[other]:
        expected = f"data.format.separator, which is {separator!r}" if spec.separator else f"{separator!r}"
        raise UserError(
            f"{path}: its cells seem to be separated by {other!r}, not by {expected}; set data.format.separator = "
            f"{_toml(other)}"
        )


def _toml(character: str) -> str:
    return '"\\t"' if character == "\t" else f'"{character}"'


def _names(path: Path, first: Sequence[str], spec: FormatSpec) -> tuple[str, ...]:
    if spec.columns is not None:
        if len(spec.columns) != len(first):
            raise UserError(
                f"{path}: its first row has {len(first)} cells, but data.format.columns has {len(spec.columns)} names"
            )
        return spec.columns
    return tuple(first) if spec.header else tuple(f"column{number}" for number in range(1, len(first) + 1))


def _checked(path: Path, line: int, cells: list[str], columns: int, spec: FormatSpec) -> list[str]:
    if len(cells) != columns:
        beginning = "the header" if spec.header else "the first row"
        cure = (
            "the separator cannot stand in a cell where data.format.quoting is 'none'"
            if spec.quoting == "none"
            else "put quotes around cells that hold a separator, or set data.format.separator to what does part them"
        )
        raise UserError(f"{path}: the row in line {line} has {len(cells)} cells, but {beginning} has {columns}; {cure}")
    return cells
