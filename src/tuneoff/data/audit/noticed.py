"""Findings on their way: which rows are examples is known first, their texts are read once for all at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.core.texts import printable
from tuneoff.records.finding import Finding

if TYPE_CHECKING:
    from tuneoff.data.rows import Rows

MOST_EXAMPLES = 3
LONGEST_EXAMPLE = 200
BEFORE_DIFFERENCE = 30


@dataclass(frozen=True)
class Example:
    """A row to show, or two that belong together, or words alone.

    Attributes:
        rows: numbers of at most two rows.
        note: stands before the texts.
    """

    rows: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Noticed:
    """A finding, and its examples, of which the first three are shown."""

    finding: Finding
    examples: Sequence[Example] = ()


def with_examples(rows: Rows, noticed: Sequence[Noticed]) -> list[Finding]:
    """Reads the rows that are shown, in one go, and writes them into the findings."""
    shown = [item.examples[:MOST_EXAMPLES] for item in noticed]
    wanted = np.unique([row for examples in shown for example in examples for row in example.rows]).astype(np.int64)
    texts: dict[int, str] = {}
    if len(wanted):
        for table in rows.tables(wanted):
            frame = table.to_pydict()
            pairs = frame.get("text_pair", [""] * len(frame["row"]))
            for row, text, pair in zip(frame["row"], frame["text"], pairs, strict=True):
                texts[row] = f"{text} | {pair}" if pair else text
    return [
        item.finding.model_copy(update={"examples": tuple(_written(example, texts) for example in examples)})
        for item, examples in zip(noticed, shown, strict=True)
    ]


def _written(example: Example, texts: dict[int, str]) -> str:
    quotes = [texts[row] for row in example.rows]
    if len(quotes) == 2:
        room = (LONGEST_EXAMPLE - len(example.note) - 10) // 2
        alike = next((index for index, (one, other) in enumerate(zip(*quotes, strict=False)) if one != other), 0)
        start = max(0, alike - BEFORE_DIFFERENCE)
        start = quotes[0].rfind(" ", 0, start) + 1 if start else 0  # up to there both are alike
        quotes = [f"«{'… ' if start else ''}{printable(text[start:], room - 2)}»" for text in quotes]
    return printable(" ".join([example.note, *quotes]), LONGEST_EXAMPLE)


def named(label: str) -> str:
    """A label's name in quotes, short and printable."""
    return f"'{printable(label, 40)}'"


def percent(part: float, whole: float) -> str:
    """A part of a whole in percent; never "0.0%" where there is some."""
    number = 100 * part / whole if whole else 0.0
    return "under 0.1%" if 0 < number < 0.05 else f"{number:.1f}%"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def plural(count: int, one: str, many: str) -> str:
    """The word that agrees with a count."""
    return one if count == 1 else many
