"""Tables for terminals of any width: no number and no name is cut."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

BESIDE = 3
"""Columns of the terminal between two of a table."""
LEAST = 2
"""Columns that are always shown."""


def fitting_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int, texts: Sequence[str] = ("arm",)
) -> Table:
    """A table of the first columns that have room: the last ones are left out in a narrow terminal.

    Args:
        headings: of all columns.
        rows: cells as plain text.
        width: of the terminal.
        texts: headings of the columns whose cells may be broken between words, and stand at the left; cells of all
            others are numbers, which stay whole. A word that is longer than half the terminal is broken.
    """
    least, most = [], []
    for column, heading in enumerate(headings):
        cells = [row[column] for row in rows]
        words = [word for cell in cells for word in cell.split()] if heading in texts else cells
        least.append(min(max(map(len, [*words, *heading.split()])), width // 2 if heading in texts else width))
        most.append(max(map(len, [*cells, heading])))
    shown = len(headings)
    while shown > LEAST and sum(least[:shown]) + BESIDE * shown + 1 > width:
        shown -= 1
    left = width - sum(least[:shown]) - BESIDE * shown - 1
    table = Table(box=box.SIMPLE_HEAD)
    for heading, narrow, wide in zip(headings[:shown], least, most, strict=False):
        more = max(0, min(wide - narrow, left))
        left -= more
        justify = "left" if heading in texts else "right"
        table.add_column(Text(heading), justify=justify, width=narrow + more, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row[:shown]))
    return table
