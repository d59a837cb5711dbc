"""Labels as they come become classes 0, 1, ...: whole numbers, truth values or words, told apart as they are spelt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    from tuneoff.data.sources import Part

MOST_CLASSES = 1000
NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")
NO_CLASS = "classes are whole numbers, truth values or words; tuneoff trains no regressions"


class Labels:
    """Gives each label a number in the order of their first appearance; `ordered` sorts them at the end.

    A number and a text that is written like it are the same label, since CSV cannot tell them apart.
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def codes(self, labels: Sequence[Any], part: Part, before: int) -> NDArray[np.int32]:
        """Numbers of some labels, shape (labels,); -1 for None, which stands for rows that are left out.

        Args:
            labels: whatever the source has.
            part: where they are from.
            before: how many rows of the part come before them.

        Raises:
            UserError: where a label is a list (several labels at once), no whole number, blank, or there are too many.
        """
        return np.array(
            [-1 if label is None else self._code(label, part, row) for row, label in enumerate(labels, before + 1)],
            dtype=np.int32,
        )

    def _code(self, label: Any, part: Part, row: int) -> int:
        if isinstance(label, list | tuple | dict):
            raise UserError(f"{part.where}: the label of row {row} {several_labels(label)}")
        text = spelt(label)
        if text is None:
            raise UserError(f"{part.where}: the label of row {row} is {_shown(label)}; {NO_CLASS}")
        if not text.strip():
            raise UserError(
                f"{part.where}: the label of row {row} is blank; set data.drop_empty = true to leave such rows out, or "
                "fill it in"
            )
        code = self._codes.setdefault(text, len(self._codes))
        if code >= MOST_CLASSES:
            raise UserError(
                f"{part.where}: there are more than {MOST_CLASSES} different labels; set data.label to a column of "
                f"classes, which '{text[:40]}' is hardly one of"
            )
        return code

    def ordered(self, codes: NDArray[np.int32], part: Part) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Renumbers by the labels' order: numbers by value, words by the alphabet.

        Args:
            codes: of all rows, shape (rows,); -1 where a row is left out.
            part: the one to train on, which may say what integer labels mean.

        Returns:
            The new numbers, shape (rows,), -1 where they were that, and the labels' names.

        Raises:
            UserError: where all labels are numbers, not all whole ones; or two differ in white space alone.
        """
        numeric = all(NUMBER.fullmatch(label) for label in self._codes)
        values = {label: _whole(label, part) if numeric else label for label in self._codes}
        classes = sorted(set(values.values()), key=(lambda label: (int(label), label)) if numeric else None)
        stripped: dict[str, str] = {}
        for label in classes:
            other = stripped.setdefault(label.strip(), label)
            if other != label:
                raise UserError(
                    f"{part.where}: the labels {other!r} and {label!r} differ in white space alone; write them alike"
                )
        places = {label: place for place, label in enumerate(classes)}
        renumbered = np.full(len(values) + 1, -1, dtype=np.int32)  # of which -1 is the last
        for label, code in self._codes.items():
            renumbered[code] = places[values[label]]
        names = part.class_names or ()
        return renumbered[codes], tuple(
            names[int(label)] if label.isdecimal() and int(label) < len(names) else label for label in classes
        )


def spelt(label: Any) -> str | None:
    """A label as it is told apart from others; None where it is no word, whole number or truth value."""
    if type(label) is float and label.is_integer():  # what a column of integers becomes where some are missing
        label = int(label)
    return str(label) if isinstance(label, str | int) else None


def several_labels(label: Any) -> str:
    """The end of a message about a label that is several: a list, or a table."""
    return (
        f"is {'a table' if isinstance(label, dict) else 'a list'} ({_shown(label)}); tuneoff trains classifiers with "
        "one label an example, not several (multi-label): set data.label to a column with one"
    )


def _whole(label: str, part: Part) -> str:
    """A number without the zeros that writing it as a float adds."""
    whole, _, fraction = label.partition(".")
    if fraction.strip("0"):
        raise UserError(f"{part.where}: a label is {label}; {NO_CLASS}")
    return whole


def _shown(value: Any) -> str:
    return repr(value)[:60]
