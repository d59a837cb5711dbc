"""The first line of a file of texts: the names of its columns, or a text that is to be labelled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tuneoff.core.texts import in_line, printable
from tuneoff.data.formats.kinds import kind_of, separator_of
from tuneoff.data.formats.lines import explaining
from tuneoff.data.formats.separated import read_records
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.headers import NUMBER, USUAL_NAMES

SHOWN = 60
"""Letters of a cell in a message."""


def first_cells(paths: Sequence[Path], spec: FormatSpec) -> list[str]:
    """Those of the first file that is lines of cells; none where there is no such file."""
    for path in paths:
        if path.is_file() and kind_of(path, spec) == "csv":
            with explaining(path):
                return next(read_records(path, separator_of(path, spec), spec), (0, []))[1]
    return []


def has_label(cells: Sequence[str], label_names: Collection[str]) -> bool:
    """Whether one of the cells is a class of the model, so that the line is an example and names no columns."""
    known = {name for name in label_names if not NUMBER.fullmatch(name) and name.lower() not in USUAL_NAMES}
    return any(cell.strip() in known for cell in cells)


def has_name(cells: Sequence[str], known: Collection[str]) -> bool:
    """Whether one of the cells is a column's usual name, or one of those that the model's study or the command gives.

    The line is a header then, also where a class has a column of its own.
    """
    return any(cell in known or cell.strip().lower() in USUAL_NAMES for cell in cells)


def passed_over(cells: Sequence[str], spec: FormatSpec, known: Collection[str]) -> str | None:
    """What is said of a first line that is taken for names of columns and may be a text; None where it is clear.

    It may be where nothing knows these names: other ones are given in their place, or there is only one.

    Args:
        cells: of the line.
        spec: how the file is read.
        known: names that the model's study or the command gives.
    """
    alone = spec.columns is not None or len(cells) == 1
    if not cells or not spec.header or not alone or has_name(cells, known):
        return None
    shown = in_line([repr(printable(cell, SHOWN)) for cell in cells])
    return f"the first line, {shown}, is taken for a header; give --read header=false if it is to be labelled as well"


def asks_for_header(columns: Sequence[str]) -> str:
    """The end of a message about columns that nothing knows, where the names of some are of several words."""
    if any(len(name.split()) > 1 for name in columns):
        return ", and add --read header=false if the first line names no columns"
    return ""
