"""What columns look like, judged by some thousand rows: which hold texts, which could be classes, which number rows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.data.class_labels import MOST_CLASSES, numbers_to_predict, spelt
from tuneoff.data.columns import Columns
from tuneoff.data.conventions import LABELS, SPLIT_WORDS
from tuneoff.data.headers import example_in
from tuneoff.data.label_signs import means_none

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.data.source_table import SourceTable

INDEX_NAMES = re.compile(r"(unnamed: ?\d+|index|idx|id|row|row_?(id|number|nr)|uuid|guid|uid|)", re.IGNORECASE)
TEXT_CHARACTERS = 10
"""Mean length from which a column without a usual name is taken for texts."""
FEWEST_NUMBERS = 5
"""In a row, that follow each other, so that they number rows."""
WITHOUT_SPACES = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2600-\u27bf\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U0001f300-\U0001faff]"
)
"""Letters of scripts that put no spaces between words, and emoji."""
LETTER = re.compile(r"[^\W\d_]")
DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}([T, ].*)?|\d{1,2}:\d{2}(:\d{2})?")
"""A day, with a time or without, or a time of day: seldom a class, often as they recur."""
CODE = re.compile(r"[0-9a-fA-F-]{16,}|[0-9]{6,}")
SENTENCE, UNSPACED_SENTENCE = 5, 15
"""Words, or characters without spaces, of texts on average that may recur and still be no classes."""
FEWEST_TEXTS = 10
WORDED = 1e9
"""More than any length, so that columns of several words go before those of codes or addresses."""
YES_NO = {"0", "1", "true", "false"}


@dataclass(frozen=True)
class Looks:
    """Names of columns by what they look like; those that are called nothing, or like another, are left out.

    Attributes:
        texts: hold texts, the longest first.
        classes: could hold classes, those with the fewest first.
        values: how many different plain values a column has, which has such alone.
        filled: how many rows of those that were looked at have a value.
        splits: say which split a row is of.
        indexes: number rows, or name them.
        measures: hold numbers that are not all whole, which are no classes.
        lists: hold lists of words or whole numbers, as several labels an example are.
        label_sets: of these, those of words alone that recur as classes do, those with the fewest first.
        yes_no: hold 0 or 1 each, or true or false.
        one_hot: exactly one of `yes_no` is 1 in every row.
        example: what stands where a name of a column should be, if the header seems to be an example.
    """

    texts: tuple[str, ...]
    classes: tuple[str, ...]
    values: dict[str, int]
    filled: dict[str, int]
    splits: tuple[str, ...]
    indexes: tuple[str, ...]
    measures: tuple[str, ...]
    lists: tuple[str, ...]
    label_sets: tuple[str, ...]
    yes_no: tuple[str, ...]
    one_hot: bool
    example: str | None

    def other_labels(self, used: Columns) -> list[str]:
        """Columns that could hold classes, and are used for nothing."""
        return [name for name in self.classes if name not in used.used]

    def other_texts(self, used: Columns) -> list[str]:
        """Columns that hold texts, and are used for nothing."""
        return [name for name in self.texts if name not in used.used]

    def one_of_several(self, label: str) -> bool:
        """Whether a label is one column of several that hold 0 or 1, which together say more than one label."""
        return label in self.yes_no and len(self.yes_no) > 1 and label.lower() not in LABELS


def look_at(source: SourceTable, table: pa.Table) -> Looks:
    """Looks at a source's columns and its first rows."""
    once = [name for name in source.columns if source.columns.count(name) == 1]
    columns = {name: [value for value in table.column(name).to_pylist() if not _missing(value)] for name in once}
    splits = tuple(name for name, values in columns.items() if _says_splits(values))
    indexes = tuple(name for name, values in columns.items() if INDEX_NAMES.fullmatch(name) or _names_rows(values))
    left = {name: values for name, values in columns.items() if name not in (*splits, *indexes)}
    texts = {name: likeness for name, values in left.items() if (likeness := _text_like(values))}
    if any(likeness > WORDED for likeness in texts.values()):
        texts = {name: likeness for name, likeness in texts.items() if likeness > WORDED}
    measures = tuple(name for name, values in left.items() if _measured(values))
    distinct = {name: set() if name in measures else _distinct(values) for name, values in left.items()}
    classes = [
        name
        for name, values in distinct.items()
        if name not in texts and _recur(values, len(left[name])) and not all(map(DATE.fullmatch, values))
    ]
    yes_no = tuple(
        name for name, values in distinct.items() if values and {value.lower() for value in values} <= YES_NO
    )
    lists = tuple(name for name, values in left.items() if values and all(map(_is_list, values)))
    items = {name: list(itertools.chain.from_iterable(left[name])) for name in lists}
    words = {name: set(found) for name, found in items.items() if all(isinstance(item, str) for item in found)}
    sets = [name for name, different in words.items() if _recur(different, len(items[name]))]
    return Looks(
        texts=tuple(sorted(texts, key=lambda name: -texts[name])),
        classes=tuple(sorted(classes, key=lambda name: len(distinct[name]))),
        values={name: len(values) for name, values in distinct.items()},
        filled={name: len(values) for name, values in columns.items()},
        splits=splits,
        indexes=indexes,
        measures=measures,
        lists=lists,
        label_sets=tuple(sorted(sets, key=lambda name: len(words[name]))),
        yes_no=yes_no,
        one_hot=len(yes_no) > 1 and _one_a_row(table, yes_no),
        example=_example(source, table) if source.header else None,
    )


def _example(source: SourceTable, table: pa.Table) -> str | None:
    return example_in(source.columns, [column.to_pylist() for column in table.columns])


def _missing(value: Any) -> bool:
    return value is None or value != value  # not a number


def _says_splits(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) and value.strip().lower() in SPLIT_WORDS for value in values)


def _names_rows(values: Sequence[Any]) -> bool:
    """Whether values are whole numbers that follow each other, or codes that no word is like."""
    if len(values) < FEWEST_NUMBERS:
        return False
    if all(isinstance(value, str) and CODE.fullmatch(value) for value in values):
        return True
    try:
        numbers = [int(value) for value in values]
    except (TypeError, ValueError):
        return False
    return all(later - earlier == 1 for earlier, later in itertools.pairwise(numbers))


def _text_like(values: Sequence[Any]) -> float:
    """How probably values are texts; 0 where they are none.

    Returns:
        Their mean length, plus `WORDED` where most are of several words, or of a script without spaces.
    """
    if not values or not all(isinstance(value, str) for value in values):
        return 0
    different, length = len(set(values)), sum(map(len, values)) / len(values)
    words = [sum(LETTER.search(word) is not None for word in value.split()) for value in values]
    unspaced = sum(WITHOUT_SPACES.search(value) is not None for value in values)
    worded = sum(count > 1 for count in words) + unspaced
    if 2 * worded > len(values):
        long_words = sum(words) >= SENTENCE * len(words) or (2 * unspaced > len(words) and length >= UNSPACED_SENTENCE)
        varied = 2 * different > len(values) and (length >= TEXT_CHARACTERS or 2 * unspaced > len(words))
        return WORDED + length if varied or (long_words and different > FEWEST_TEXTS) else 0
    lettered = sum(LETTER.search(value) is not None for value in values)
    return length if 2 * min(different, lettered) > len(values) and length >= TEXT_CHARACTERS else 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(spelt(item) is not None for item in value)


def _distinct(values: Iterable[Any]) -> set[str]:
    """The values as they are spelt; none where some could not be classes."""
    found = {spelt(value) for value in values}
    return set() if None in found else {value for value in found if value is not None}


def _recur(different: Collection[str], values: int) -> bool:
    """Whether so many different values among all could be classes, of which each has several examples."""
    return 2 <= len(different) <= MOST_CLASSES and 2 * len(different) <= values


def _measured(values: Sequence[Any]) -> bool:
    """Whether values are numbers, or texts of such, that are not all whole; words that mean "none" left out."""
    left = [value for value in values if not means_none(value)]
    numbers = {repr(value) if isinstance(value, float) else spelt(value) for value in left}
    return bool(numbers) and None not in numbers and numbers_to_predict({number for number in numbers if number})


def _one_a_row(table: pa.Table, names: Sequence[str]) -> bool:
    rows = zip(*(table.column(name).to_pylist() for name in names), strict=True)
    return all([str(value).lower() in ("1", "1.0", "true") for value in row].count(True) == 1 for row in rows)
