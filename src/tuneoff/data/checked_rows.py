"""Some thousand rows of a source: checked, and without those that the study leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import regex
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.data.class_labels import spelt
from tuneoff.data.columns import Columns
from tuneoff.data.conventions import SPLIT_WORDS, SPLITS
from tuneoff.data.label_sets import yes_no
from tuneoff.data.rows import EMPTY, LABEL
from tuneoff.spec.data import TASKS

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.spec import DataSpec

FRACTION = regex.compile(r"(?<=^[+-]?[0-9]+)\.0+$")
DROP_EMPTY = "set data.drop_empty = true to leave such rows out, or fill it in"


@dataclass(frozen=True)
class CheckedRows:
    """Some rows of a source, checked; those that are left out have no texts, None for a label, and -1 for a split."""

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any]
    breakdown: list[str] | None
    groups: list[str] | None
    splits: NDArray[np.int8]
    dropped: list[tuple[int, str]]
    """Split and reason of each row that is left out."""

    @classmethod
    def of(
        cls, names: Columns, table: pa.Table, split: str | None, where: str, rows: range, spec: DataSpec
    ) -> CheckedRows:
        """Checks the rows of a table.

        Args:
            names: of the columns that are used.
            table: has them.
            split: of which split the rows are; None where a column says so.
            where: the file that they are from.
            rows: what they are numbered there.
            spec: says which rows to leave out.

        Raises:
            UserError: where a row that is not left out has no text, label, split or group, or another kind of value.
        """
        values = {name: table.column(name).to_pylist() for name in names.used}
        if names.label_columns:
            values[names.label] = _sets(names.label_columns, values, where, rows)
        if TASKS.named(spec.task).kind == "labels":  # where nothing stands, there is none
            values[names.label] = [[] if _missing(label) or _blank(label) else label for label in values[names.label]]
        needed = [values[name] for name in (names.text, names.text_pair, names.label) if name is not None]
        out = _left_out(needed, values[names.label], spec)

        def filled(column: str, option: str, cure: str = "fill it in or remove the row") -> list[Any]:
            for number, value in enumerate(values[column]):
                if _missing(value) and number not in out:
                    raise UserError(f"{where}: row {rows[number]:,} has no {option}; {cure}")
            return values[column]

        def texts(column: str, option: str) -> list[str]:
            found = filled(column, option, DROP_EMPTY)
            return _texts(["" if number in out else value for number, value in enumerate(found)], where, column)

        if names.split is None:
            assert split is not None
            splits = np.full(len(table), SPLITS.index(split), dtype=np.int8)
        else:
            splits = _splits(filled(names.split, "split"), where, rows)
        dropped = [(int(splits[number]), reason) for number, reason in out.items()]
        splits[list(out)] = -1
        labels = filled(names.label, "label", DROP_EMPTY)
        return cls(
            texts=texts(names.text, "text"),
            pairs=None if names.text_pair is None else texts(names.text_pair, "pair"),
            labels=[None if number in out else label for number, label in enumerate(labels)],
            breakdown=None if names.breakdown is None else [str(value) for value in values[names.breakdown]],
            groups=None if names.group is None else [str(value) for value in filled(names.group, "group")],
            splits=splits,
            dropped=dropped,
        )

    @property
    def stripped(self) -> list[str]:
        """What tells examples apart."""
        if self.pairs is None:
            return [text.strip() for text in self.texts]
        return [f"{text.strip()}\0{pair.strip()}" for text, pair in zip(self.texts, self.pairs, strict=True)]

    @property
    def characters(self) -> NDArray[np.int32]:
        """Length of text and pair, shape (rows,)."""
        lengths = np.array([len(text) for text in self.texts], dtype=np.int32)
        return lengths if self.pairs is None else lengths + np.array([len(pair) for pair in self.pairs], dtype=np.int32)

    def kept(self, schema: pa.Schema, source_file: str, source_rows: range) -> pa.Table:
        """What is kept of them in a file, and where the user finds them."""
        import pyarrow as pa

        values: dict[str, object] = {"text": self.texts, "text_pair": self.pairs, "breakdown": self.breakdown}
        values |= {"source_file": [source_file] * len(source_rows), "source_row": source_rows}
        return pa.table({name: values[name] for name in schema.names}, schema=schema)


def _left_out(needed: Sequence[list[Any]], labels: list[Any], spec: DataSpec) -> dict[int, str]:
    """Which rows of a batch are left out, and why.

    Args:
        needed: the columns of texts and labels.
        labels: the column of labels.
        spec: says what to leave out.
    """
    found: dict[int, str] = {}
    if spec.drop_labels:
        wanted = set(spec.drop_labels)
        found |= {number: LABEL for number, label in enumerate(labels) if wanted & _spellings(label)}
    if spec.drop_empty:
        for values in needed:
            empty = (number for number, value in enumerate(values) if _missing(value) or _blank(value))
            found |= dict.fromkeys(empty, EMPTY)
    return found


def _sets(columns: Sequence[str], values: dict[str, list[Any]], where: str, rows: range) -> list[Any]:
    """The labels of each row by the columns that say which it has."""
    said = {column: yes_no(values[column], column, where, rows) for column in columns}
    return [[column for column in columns if said[column][number]] for number in range(len(rows))]


def _spellings(label: Any) -> set[str]:
    """A label as it stands there, and as a whole number where it is one, such as -1 for "-1.0"."""
    text = spelt(label)
    return set() if text is None else {text, text.strip(), FRACTION.sub("", text.strip())}


def _missing(value: Any) -> bool:
    return value is None or value != value  # not a number


def _blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _texts(values: list[Any], where: str, column: str) -> list[str]:
    for value in values:
        if not isinstance(value, str):
            if isinstance(value, list | dict | bytes):
                kind = {list: "lists", dict: "tables", bytes: "bytes"}[type(value)]
                raise UserError(f"{where}: the column '{column}' holds {kind}, not texts; set data.text to another")
            return [item if isinstance(item, str) else str(item) for item in values]
    return values


def _splits(values: list[Any], where: str, rows: range) -> NDArray[np.int8]:
    found = [SPLIT_WORDS.get(str(value).strip().lower(), -1) for value in values]
    if -1 in found:
        first = found.index(-1)
        odd = str(values[first])[:60]
        raise UserError(
            f"{where}: the split column says {odd!r} in row {rows[first]:,}; it may say train, validation or test: set "
            "data.split to another column, or leave it out"
        )
    return np.array(found, dtype=np.int8)
