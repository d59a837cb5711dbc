"""Tables for terminals of any width: no number and no name is cut."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from tuneoff.core.texts import broken

BESIDE = 3
"""Columns of the terminal between two of a table."""
LEAST = 2
"""Columns that are always shown."""
NARROWEST = 12
"""Of a column of texts, where the terminal is narrow and a word longer."""


def fitting_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int, texts: Sequence[str] = ("arm",)
) -> Table:
    """A table of the first columns that have room: the last ones are left out in a narrow terminal.

    Args:
        headings: of all columns.
        rows: cells as plain text, in lines.
        width: of the terminal.
        texts: headings of the columns whose cells may be broken between words, and stand at the left; cells of all
            others are numbers, which stay whole. A word that is longer than a quarter of the terminal may be broken.
    """
    least, most = [], []
    for column, heading in enumerate(headings):
        lines = [line for row in rows for line in row[column].split("\n")]
        words = [word for line in lines for word in line.split()] if heading in texts else lines
        longest = max(map(len, [*words, *heading.split()]))
        least.append(min(longest, max(NARROWEST, width // 4)) if heading in texts else longest)
        most.append(max(map(len, [*lines, heading])))
    shown = len(headings)
    while shown > LEAST and sum(least[:shown]) + BESIDE * shown + 1 > width:
        shown -= 1
    left = width - sum(least[:shown]) - BESIDE * shown - 1
    table = Table(box=box.SIMPLE_HEAD)
    widths = []
    for heading, narrow, wide in zip(headings[:shown], least, most, strict=False):
        more = max(0, min(wide - narrow, left))
        left -= more
        widths.append(narrow + more)
        table.add_column(Text(heading), justify="left" if heading in texts else "right", width=widths[-1])
    for row in rows:
        table.add_row(*(Text(_with_breaks(cell, room)) for cell, room in zip(row[:shown], widths, strict=True)))
    return table


def _with_breaks(cell: str, width: int) -> str:
    """A cell whose words all fit into a width."""
    return "\n".join(
        " ".join(word if len(word) <= width else "\n".join(broken(word, width)) for word in line.split(" "))
        for line in cell.split("\n")
    )
