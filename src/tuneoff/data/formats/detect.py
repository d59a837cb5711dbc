"""What files are that nobody has described: kind, encoding, separator, quotes, and whether a header is there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from tuneoff.core.errors import UserError
from tuneoff.data.formats.encodings import likely_encoding
from tuneoff.data.formats.fasttext import MARK
from tuneoff.data.formats.kinds import KINDS, PARQUET_MARK, SEPARATED_BY, ending, kind_of, separator_of
from tuneoff.data.formats.lines import explaining, read_lines
from tuneoff.data.formats.other_kinds import HEAD
from tuneoff.data.formats.raw import opened_bytes
from tuneoff.data.formats.separated import read_records
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.headers import example_in

FIRST_TRIED = ("\t", "|", ";", ",")
"""Separators where a name says nothing, those first that texts seldom hold."""
ROWS = 2000
"""By which it is judged whether there is a header."""


def detect_format(paths: Sequence[Path], encoding: str | None = None) -> FormatSpec:
    """Settings that read some files, as far as they can be found out; usual ones where nothing else does.

    Args:
        paths: of the files.
        encoding: where it is known.

    Raises:
        UserError: where a file cannot be opened, or files have different encodings.
    """
    files = [path for path in paths if path.is_file()]
    spec = FormatSpec(encoding=encoding or _encoding(files))
    doubtful = next((path for path in files if KINDS.get(ending(path)) in (None, "csv")), None)
    if doubtful is None:
        return spec
    with explaining(doubtful):
        return _kind_and_cells(doubtful, spec)


def settings_that_read(path: Path) -> str | None:
    """The settings that would probably read a file, as TOML in one line; None where none are found."""
    spec = detect_format([path])
    return None if kind_of(path, spec) is None else inline(spec)


def inline(spec: FormatSpec) -> str:
    """Settings that are not as usual, as a TOML table in one line."""
    return f"{{ {', '.join(f'{option} = {toml(value)}' for option, value in unusual(spec).items())} }}"


def toml(value: Any) -> str:
    """A value as TOML in one line, with control characters spelt out."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return tomli_w.dumps({"value": value}).strip().removeprefix("value = ").replace("\t", "\\t")


def unusual(spec: FormatSpec) -> dict[str, str | bool | list[str]]:
    """Settings that are not as they are when left out."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in spec
        if value != getattr(FormatSpec(), key)
    }


def _encoding(files: Sequence[Path]) -> str:
    found: dict[str, Path] = {}
    for path in files:
        if KINDS.get(ending(path)) == "parquet":
            continue
        with explaining(path):
            encoding = likely_encoding(path)
        if encoding not in (None, "ascii"):
            found.setdefault(str(encoding), path)
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise UserError(
            f"{second}: seems to be {other}, but {first} seems to be {one}; save them in one encoding, since "
            "data.format.encoding is the same for all files"
        )
    return next(iter(found), "utf-8")


def _kind_and_cells(path: Path, spec: FormatSpec) -> FormatSpec:
    with opened_bytes(path) as binary:
        if binary.peek(HEAD).startswith(PARQUET_MARK):
            return spec.model_copy(update={"kind": "parquet"})
    lines = (line.strip() for line in read_lines(path, spec.encoding))
    first = next((line for line in lines if line), "")
    if first.startswith(MARK):
        return spec.model_copy(update={"kind": "fasttext"})
    if first.startswith(("{", "[{")) or first == "[":
        return spec.model_copy(update={"kind": "json"})
    return _cells(path, spec)


@dataclass(frozen=True)
class _Shape:
    """What lines of cells are like when they are read in a certain way: all rows have the same number of cells."""

    rows: int
    broken_cells: bool
    """Whether there are cells of several lines."""


def _cells(path: Path, spec: FormatSpec) -> FormatSpec:
    """Tries separators, and for each whether quotes mean something."""
    known = ending(path) in KINDS
    usual = separator_of(path, spec)
    tried = [usual, *(mark for mark in FIRST_TRIED if mark != usual)] if known else list(FIRST_TRIED)
    ways = ((mark, _quoting(path, mark, spec)) for mark in tried)
    separator, quoting = next((way for way in ways if way[1] is not None), (_most_cells(path, tried, spec), "standard"))
    found = spec.model_copy(update={"quoting": None if quoting == "standard" else quoting})
    if separator is not None and (not known or separator != SEPARATED_BY.get(ending(path), ",")):
        found = found.model_copy(update={"separator": separator})
    return found.model_copy(update={"header": separator is None or not _first_is_a_row(path, separator, found)})


def _quoting(path: Path, separator: str, spec: FormatSpec) -> str | None:
    """How quotes are to be taken so that every row has the same number of cells, two or more; None where it fails.

    Where both ways work, and cells of several lines vanish when quotes mean nothing, they mean nothing: lines that
    are part of a cell would hardly have the right number of separators each.
    """
    standard = _shape(path, separator, spec)
    if standard is not None and not standard.broken_cells:
        return "standard"
    plain = _shape(path, separator, spec.model_copy(update={"quoting": "none"}))
    if plain is not None and (standard is None or plain.rows > standard.rows):
        return "none"
    return None if standard is None else "standard"


def _shape(path: Path, separator: str, spec: FormatSpec) -> _Shape | None:
    rows, cells_of_first, broken = 0, 0, False
    try:
        for _, cells in read_records(path, separator, spec):
            rows += 1
            cells_of_first = cells_of_first or len(cells)
            if cells_of_first < 2 or len(cells) != cells_of_first:
                return None
            broken = broken or any("\n" in cell or "\r" in cell for cell in cells)
    except UserError:
        return None
    return _Shape(rows, broken) if rows else None


def _most_cells(path: Path, separators: Sequence[str], spec: FormatSpec) -> str | None:
    """The first separator that divides the first row; None where none does, or a quote in it is wrong."""
    for separator in separators:
        try:
            if len(next(read_records(path, separator, spec), (0, []))[1]) > 1:
                return separator
        except UserError:
            continue
    return None


def _first_is_a_row(path: Path, separator: str, spec: FormatSpec) -> bool:
    rows = list(_some(path, separator, spec))
    return bool(rows) and example_in(rows[0], list(itertools.zip_longest(*rows[1:]))) is not None


def _some(path: Path, separator: str, spec: FormatSpec) -> Iterator[list[str]]:
    """The first rows, as far as they can be read."""
    try:
        yield from (cells for _, cells in itertools.islice(read_records(path, separator, spec), ROWS))
    except UserError:
        return
