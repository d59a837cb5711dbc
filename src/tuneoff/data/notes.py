"""What somebody should know who has given data without a word: what else it may be, and what is odd about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.core.texts import in_line, printable
from tuneoff.data.formats.detect import inline, unusual
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.label_signs import ordered, sentinels, several_in_one, spelt_alike

if TYPE_CHECKING:
    from tuneoff.data.guess import Guess
    from tuneoff.data.rows import Rows
    from tuneoff.data.sources.files import FilesData

SHOWN = 3
SHOWN_BEFORE, SHOWN_CHARACTERS = 10, 50


def notes_on(spec: FilesData, guess: Guess, rows: Rows, empty: int, unlabelled: int) -> Iterator[str]:
    """Notes, a line each.

    Args:
        spec: `[data]` as it will be written.
        guess: which columns hold what.
        rows: all rows.
        empty: rows without text or label.
        unlabelled: rows with a label that means none.
    """
    if unusual(spec.format):
        yield _read_with(spec.format, rows)
    yield from could_be(guess)
    if guess.several:
        yield multi_hot(guess.several, guess.label, guess.one_hot)
    if empty:
        are = "row without a text or label is" if empty == 1 else "rows without a text or label are"
        yield f"{empty:,} {are} left out (data.drop_empty)"
    if unlabelled:
        are = "row is" if unlabelled == 1 else "rows are"
        yield f"{unlabelled:,} {are} left out whose label, {in_line(spec.drop_labels)}, means none (data.drop_labels)"
    yield from on_labels(rows)


def could_be(guess: Guess) -> Iterator[str]:
    """What columns could be meant for instead."""
    if guess.text_pair is not None and "text_pair" not in guess.named:
        yield (
            f"an example is {in_line([guess.text])} with {in_line([guess.text_pair])}; for single texts leave out "
            "data.text_pair"
        )
    if guess.other_texts:
        yield (
            f"{in_line(guess.other_texts)} could also be data.text, or data.text_pair for two texts an example "
            "(--text, --text-pair)"
        )
    if guess.other_labels:
        yield f"{in_line(guess.other_labels)} could also be data.label (--label)"
    for name in guess.measures:
        if name != guess.label:
            yield (
                f"{in_line([name])} holds numbers to predict; for it to be what is learned set data.label = "
                f"{in_line([name])} and data.task = 'regression'"
            )


def multi_hot(columns: tuple[str, ...], label: str, one_hot: bool) -> str:
    """That several columns hold 0 or 1 each."""
    if one_hot:
        means = "exactly one of them in every row, so that they are one label: write its name into a column of its own"
    else:
        means = "several labels an example: to learn all of them set data.task = 'multi_label' and data.label to a list"
        return (
            f"the columns {in_line(columns)} hold 0 or 1 each, {means} of these columns; '{label}' alone is learned now"
        )
    return (
        f"the columns {in_line(columns)} hold 0 or 1 each, {means}, and set data.label to that, or go on with "
        f"'{label}' alone"
    )


def on_labels(rows: Rows) -> Iterator[str]:
    """What is odd about the names of classes."""
    if rows.label_table is not None:
        return
    counts = np.bincount(rows.labels[rows.labels >= 0], minlength=len(rows.label_names)).tolist()
    for name in sentinels(rows.label_names, counts, rows.declared)[1]:
        yield f"the label '{name}' is taken for a class; if it means none, set data.drop_labels = [\"{name}\"]"
    for group in spelt_alike(rows.label_names)[:SHOWN]:
        yield f"{alike(group)}; write them alike"
    several = several_in_one(rows.label_names)
    if several is not None:
        yield joined(*several)
    steps = ordered(rows.label_names, rows.columns.label)
    if steps is not None:
        yield f"{steps.said(rows.label_names)}; {steps.cure}"


def alike(group: list[str]) -> str:
    """That some labels are spelt nearly the same."""
    names = " and ".join(f"'{name}'" for name in group)
    return f"the labels {names} differ in case, leading zeros or the space between words alone, and are classes apart"


def joined(separator: str, names: list[str]) -> str:
    """That labels are several classes each."""
    how = "lists" if separator == "[]" else f"several classes with {separator!r} between them"
    return (
        f"labels such as {in_line(names[:SHOWN])} are {how}, and each combination is taken for a class: with data.task "
        "= 'multi_label' each of them is learned by itself"
    )


def _read_with(spec: FormatSpec, rows: Rows) -> str:
    said = f"read with data.format = {inline(spec)}"
    if spec.encoding == FormatSpec().encoding:
        return said
    texts = (text for table in rows.tables(columns=["text"]) for text in table.column("text").to_pylist())
    odd = next((text for text in texts if not text.isascii()), "")
    at = next((index for index, character in enumerate(odd) if not character.isascii()), 0)
    start = max(0, odd.rfind(" ", 0, max(0, at - SHOWN_BEFORE)) + 1)
    return f"{said}; the encoding is a guess: does '{printable(odd[start:], SHOWN_CHARACTERS)}' look right?"
