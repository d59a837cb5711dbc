"""Labels that are classes become 0, 1, ...: whole numbers, truth values or words, told apart as they are spelt."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.texts import in_line
from tuneoff.data.decimals import have_decimal_commas, with_point
from tuneoff.data.label_reader import LabelReader, ReadLabels

if TYPE_CHECKING:
    from tuneoff.data.source_table import SourceTable

MOST_CLASSES = 1000
NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
RECURRING = 0.9
"""Different values of rows, at most, where values recur."""
FEWEST_ROWS = 10
"""From which it is told whether values recur."""


class ClassLabels(LabelReader):
    """Labels that are one class each: whole numbers, truth values or words.

    A number and a text that is written like it are the same label, since CSV cannot tell them apart.

    Args:
        column: what the source calls the column of labels.
        others: the columns that look like labels beside it.
    """

    def __init__(self, column: str, others: Sequence[str]) -> None:
        self._column, self._others = column, others
        self._codes: dict[str, int] = {}

    def _code(self, label: Any, where: str, row: int) -> int:
        if isinstance(label, list | tuple | dict):
            raise UserError(f"{where}: the label of row {row} {several_labels(label)}")
        # A fraction is kept until all are known, so that it can be said what they are.
        text = repr(label) if type(label) is float and isfinite(label) and label % 1 else spelt(label)
        if text is None:
            raise UserError(
                f"{where}: the label of row {row} is {_shown(label)}; classes are whole numbers, truth values or words"
            )
        if not text.strip():
            raise UserError(
                f"{where}: the label of row {row} is blank; set data.drop_empty = true to leave such rows out, or "
                "fill it in"
            )
        code = self._codes.setdefault(text, len(self._codes))
        if code >= MOST_CLASSES:
            if numbers_to_predict(self._codes):
                raise UserError(f"{where}: the column {in_line([self._column])} {not_predicted(self._codes)}")
            raise UserError(
                f"{where}: the column {in_line([self._column])} has more than {MOST_CLASSES:,} different values up to "
                f"row {row:,}, {_shown(text)} for one, as an id has, and classes have not; set data.label to another "
                f"column{self._instead()}"
            )
        return code

    def _instead(self) -> str:
        return f", as {in_line(self._others)} may be" if self._others else "; no other column looks like one"

    def finish(self, codes: NDArray[np.int32], source: SourceTable) -> ReadLabels:
        """Renumbers by the labels' order: numbers by value, words by the alphabet.

        Labels that differ in white space around them alone are one.

        Args:
            codes: of all rows, shape (rows,); -1 where a row is left out.
            source: the one to train on, which may say what integer labels mean.

        Raises:
            UserError: where nearly all labels are different, or all are numbers, not all whole ones.
        """
        if numbers_to_predict(self._codes):
            raise UserError(f"{source.where}: the column {in_line([self._column])} {not_predicted(self._codes)}")
        rows = int((codes >= 0).sum())
        if rows >= FEWEST_ROWS and len(self._codes) > RECURRING * rows:
            raise UserError(
                f"{source.where}: the column {in_line([self._column])} looks like an id, not like labels: it has "
                f"{len(self._codes):,} different values in {rows:,} rows, and a class needs many rows; set data.label "
                f"to another column{self._instead()}"
            )
        numeric = all(map(NUMBER.fullmatch, self._codes))
        unlike = len({label.strip() for label in self._codes}) < len(self._codes)  # in white space alone
        values = {label: _whole(label) if numeric else label.strip() if unlike else label for label in self._codes}
        classes = sorted(set(values.values()), key=(lambda label: (int(label), label)) if numeric else None)
        index = {label: number for number, label in enumerate(classes)}
        renumbered = np.full(len(values) + 1, -1, dtype=np.int32)  # of which -1 is the last
        for label, code in self._codes.items():
            renumbered[code] = index[values[label]]
        names = source.class_names.get(self._column, ())
        classes_named = tuple(
            names[int(label)] if label.isdecimal() and int(label) < len(names) else label for label in classes
        )
        return ReadLabels(renumbered[codes], classes_named, None, renumbered[codes])


def spelt(label: Any) -> str | None:
    """A label as it is told apart from others; None where it is no word, whole number or truth value."""
    if type(label) is float and label.is_integer():  # what a column of integers becomes where some are missing
        label = int(label)
    return str(label) if isinstance(label, str | int) else None


def several_labels(label: Any) -> str:
    """The end of a message about a label that is several: a list, or a table."""
    return (
        f"is {'a table' if isinstance(label, dict) else 'a list'} ({_shown(label)}): several labels an example are "
        "learned with data.task = 'multi_label', or set data.label to a column with one"
    )


def numbers_to_predict(labels: Collection[str]) -> bool:
    """Whether labels are numbers that are not all whole, such as 3.7, which are measures and no classes."""
    if any("," in label for label in labels) and not have_decimal_commas(labels):
        return False
    numbers = [with_point(label) for label in labels]
    return all(map(NUMBER.fullmatch, numbers)) and any(_fraction(Decimal(number)) for number in numbers)


def _fraction(number: Decimal) -> bool:
    return number != number.to_integral_value()


def not_predicted(labels: Collection[str]) -> str:
    """The end of a message about a column whose labels are numbers to predict, and what makes classes of them."""
    numbers = sorted({Decimal(with_point(label)) for label in labels})
    such = f"such as {float(next(filter(_fraction, numbers))):.6g}"
    many = f"{len(numbers):,}" if len(numbers) <= MOST_CLASSES else f"more than {MOST_CLASSES:,}"
    return (
        f"holds {many} different numbers that are not all whole, {such}: numbers to predict are learned with data.task "
        "= 'regression'; where each is a class, write it as a word"
    )


def _whole(label: str) -> str:
    """A whole number without the zeros that writing it as a float adds."""
    return label.partition(".")[0] if "e" not in label.lower() else str(int(Decimal(label)))


def _shown(value: Any) -> str:
    return repr(value)[:60]
