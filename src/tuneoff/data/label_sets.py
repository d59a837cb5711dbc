"""Labels that are several an example: lists, words with something between them, or columns that say yes or no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.texts import in_line
from tuneoff.data.class_labels import MOST_CLASSES, NUMBER, spelt
from tuneoff.data.label_reader import LabelReader, ReadLabels
from tuneoff.data.label_signs import several_in_one

if TYPE_CHECKING:
    from tuneoff.data.source_table import SourceTable

LISTS = "[]"
"""Where a text is a list."""
LIST_MARKS = "[](){}"
QUOTES = "'\""
YES, NO = {"1", "true", "yes"}, {"0", "false", "no", ""}
SHOWN = 60

Set = tuple[str, ...]


class LabelSets(LabelReader):
    """Any number of labels an example, also none.

    Args:
        column: what the source calls the column of labels, or those of several.
        separator: what stands between labels that are written as one text; found out when None.
    """

    def __init__(self, column: str, separator: str | None) -> None:
        self._column = column
        self._separator = separator
        self._codes: dict[str | Set, int] = {}

    def _code(self, label: Any, where: str, row: int) -> int:
        key: str | Set
        if isinstance(label, list | tuple):
            items = [spelt(item) for item in label]
            key = tuple(sorted({item.strip() for item in items if item is not None}))
            if None in items or "" in key:
                raise UserError(
                    f"{where}: the labels of row {row:,} are {repr(label)[:SHOWN]}; write a list of words or whole "
                    "numbers, with none that is missing or blank"
                )
        else:
            text = spelt(label)
            if text is None:
                raise UserError(
                    f"{where}: the labels of row {row:,} are {repr(label)[:SHOWN]}; write a list of words, or words "
                    "with a character such as ; between them"
                )
            key = text
        return self._codes.setdefault(key, len(self._codes))

    def finish(self, codes: NDArray[np.int32], source: SourceTable) -> ReadLabels:
        used = set(np.unique(codes[codes >= 0]).tolist())
        texts = [key for key, code in self._codes.items() if isinstance(key, str) and code in used]
        separator = self._separator
        if separator is not None and separator != LISTS and texts and not any(separator in text for text in texts):
            raise UserError(
                f"{source.where}: data.label_separator = {separator!r} stands between no labels of the column "
                f"{in_line([self._column])}, which says {in_line(texts[:3])}; leave it out to have it found"
            )
        if separator is None and texts:
            found = several_in_one(texts)
            separator = found[0] if found is not None else None
        if separator is None and len(texts) == len(used):
            raise UserError(
                f"{source.where}: no row has several labels in the column {in_line([self._column])}; set "
                "data.label_separator to what stands between them, or data.task = 'single_label'"
            )
        sets = {code: self._parted(key, separator) for key, code in self._codes.items() if code in used}
        every = {label for its in sets.values() for label in its}
        numeric = all(map(NUMBER.fullmatch, every))
        names = sorted(every, key=(lambda label: (float(label), label)) if numeric else None)
        if len(names) < 2:
            raise UserError(
                f"{source.where}: the column {in_line([self._column])} has {len(names)} label in all, and several "
                "labels an example (data.task = 'multi_label') need at least two"
            )
        if len(names) > MOST_CLASSES:
            raise UserError(
                f"{source.where}: the column {in_line([self._column])} has {len(names):,} different labels, such as "
                f"{in_line(names[:3])}, and there may be {MOST_CLASSES:,}; is data.label_separator right?"
            )
        index = {label: number for number, label in enumerate(names)}
        member = np.zeros((len(self._codes), len(names)))
        for code, its in sets.items():
            member[code, [index[label] for label in its]] = 1.0
        kinds = np.array(sorted(used))
        table, of_kind = np.unique(member[kinds], axis=0, return_inverse=True)
        renumbered = np.full(len(self._codes) + 1, -1, dtype=np.int32)  # of which -1 is the last
        renumbered[kinds] = of_kind.reshape(-1)
        new = renumbered[codes]
        declared = source.class_names.get(self._column, ())
        named = tuple(declared[int(name)] if name.isdecimal() and int(name) < len(declared) else name for name in names)
        return ReadLabels(new, named, table, _strata(new, table))

    def _parted(self, key: str | Set, separator: str | None) -> Set:
        if not isinstance(key, str):
            return key
        if separator == LISTS:
            inner = key.strip().strip(LIST_MARKS)
            return tuple(sorted({item.strip().strip(QUOTES).strip() for item in inner.split(",") if item.strip()}))
        pieces = [key] if separator is None else key.split(separator)
        return tuple(sorted({piece.strip() for piece in pieces if piece.strip()}))


def yes_no(values: list[Any], column: str, where: str, rows: range) -> list[bool]:
    """Whether each row has the label that a column is for.

    Raises:
        UserError: where a value says neither yes nor no.
    """
    found = []
    for row, value in zip(rows, values, strict=True):
        said = "" if value is None or value != value else str(spelt(value)).strip().lower()
        if said not in YES | NO:
            raise UserError(
                f"{where}: the column {in_line([column])} says {repr(value)[:SHOWN]} in row {row:,}; a column of one "
                "label of several (data.label = [...]) says 1 or 0, true or false, yes or no"
            )
        found.append(said in YES)
    return found


def _strata(codes: NDArray[np.int32], table: NDArray[np.float64]) -> NDArray[np.int32]:
    """The rarest label that each row has, so that rare ones are in every split; one more where it has none."""
    counts = table[codes[codes >= 0]].sum(axis=0)
    rarest = np.where(table > 0, counts, np.inf).argmin(axis=1)
    of_code = np.where(table.any(axis=1), rarest, table.shape[1])
    return np.where(codes >= 0, of_code[codes], -1).astype(np.int32)
