"""Whether a file's first line names its columns, or is an example already."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tuneoff.data.conventions import LABELS, PAIRS, TEXTS

NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?(e[+-]?\d+)?", re.IGNORECASE)
LONGEST_NAME = 60
"""Characters of a column's name."""
MOST_WORDS = 7
SHOWN = 40
USUAL_NAMES = {*TEXTS, *LABELS, *(name for pair in PAIRS for name in pair), "id", "index", "idx", "split", "title"}


def example_in(names: Sequence[str], columns: Sequence[Sequence[str | None]] = ()) -> str | None:
    """The name that is more like a cell than like a name, where the first line is probably an example.

    Args:
        names: of the columns, as the first line has them.
        columns: the cells below each, as many as are known.

    Returns:
        A long text, a number, or a value that recurs in its column; None where the line seems to name columns.
    """
    stripped = [name.strip() for name in names]
    if any(name.lower() in USUAL_NAMES for name in stripped) or _numbered(stripped):
        return None
    for name in stripped:
        if len(name) > LONGEST_NAME or len(name.split()) > MOST_WORDS or NUMBER.fullmatch(name):
            return name
    for name, cells in zip(stripped, columns, strict=False):
        if name and _recurs(name, [cell for cell in cells if cell is not None]):
            return name
    return None


def no_header(names: Sequence[str]) -> str:
    """The end of a message about columns, where the first line is probably an example."""
    example = example_in(names)
    if example is None:
        return ""
    shown = example if len(example) <= SHOWN else f"{example[:SHOWN]}..."
    return f"; {shown!r} looks like part of an example: set data.format.header = false where there is no header"


def _numbered(names: Sequence[str]) -> bool:
    """Whether columns are called 0, 1, 2, ..., as pandas calls those without names."""
    numbers = [name for name in names if name]
    return numbers in ([str(first + index) for index in range(len(numbers))] for first in (0, 1)) and len(names) > 1


def _recurs(name: str, cells: Sequence[str]) -> bool:
    """Whether a name is one of the few values below it."""
    values = {cell.strip() for cell in cells}
    return name in values and 2 * len(values) <= len(cells)
