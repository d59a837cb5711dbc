"""Which columns of unknown data probably hold what, judged by their names and by some thousand rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.data.columns import LABELS, PAIRS, TEXTS, find_named, listed
from tuneoff.data.labels import MOST_CLASSES
from tuneoff.data.rows import SPLIT_WORDS
from tuneoff.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.data.sources import Part

GROUP_WORDS = ("user", "author", "group", "patient", "customer", "product", "session", "thread", "document", "speaker")
MOST_PARTS = 30
"""Values of a column by which accuracy could be broken down."""
TEXT_CHARACTERS = 10
"""Mean length from which a column without a usual name is taken for texts."""


@dataclass(frozen=True)
class Guess:
    """Names of columns.

    Attributes:
        text: holds the texts.
        text_pair: holds second texts.
        label: holds the classes.
        split: says which split a row is of.
        other_labels: could hold classes as well.
        groups: have values that rows share, such as authors.
        breakdowns: have a few values, by which accuracy could be looked at.
    """

    text: str
    text_pair: str | None
    label: str
    split: str | None
    other_labels: tuple[str, ...]
    groups: tuple[str, ...]
    breakdowns: tuple[str, ...]


def guess_columns(part: Part, table: pa.Table) -> Guess:
    """Guesses from a part's columns and its first rows.

    Raises:
        UserError: where none looks like texts, or none like classes.
    """
    once = [name for name in part.columns if name and part.columns.count(name) == 1]
    columns = {name: [value for value in table.column(name).to_pylist() if value is not None] for name in once}
    split = next((name for name, values in columns.items() if _says_splits(values)), None)
    left = {name: values for name, values in columns.items() if name != split}
    named = _named(left, LABELS)
    text, pair = _guess_texts(part, {name: values for name, values in left.items() if name != named})
    left = {name: values for name, values in left.items() if name not in (text, pair)}
    classes = [name for name in left if _distinct(left[name]) and 2 <= len(_distinct(left[name])) <= MOST_CLASSES]
    classes = [name for name in classes if 2 * len(_distinct(left[name])) <= len(left[name])]
    classes.sort(key=lambda name: len(_distinct(left[name])))
    label = next((name for name in (named, *classes) if name is not None), None)
    if label is None:
        raise UserError(
            f"{part.where}: none of its columns ({listed(part.columns)}) looks like classes; call that column 'label'"
        )
    others = {name: len(_distinct(values)) for name, values in left.items() if name != label}
    repeating = [name for name, count in others.items() if 2 <= count <= 0.9 * len(left[name])]
    return Guess(
        text=text,
        text_pair=pair,
        label=label,
        split=split,
        other_labels=tuple(name for name in classes if name != label),
        groups=tuple(
            name for name in repeating if others[name] > MOST_PARTS or any(word in name.lower() for word in GROUP_WORDS)
        ),
        breakdowns=tuple(name for name in repeating if others[name] <= MOST_PARTS),
    )


def _guess_texts(part: Part, columns: dict[str, list[Any]]) -> tuple[str, str | None]:
    for names in PAIRS:
        first, second = (_named(columns, [name]) for name in names)
        if first is not None and second is not None:
            return first, second
    named = _named(columns, TEXTS)
    if named is not None:
        return named, None
    lengths = {
        name: sum(map(len, values)) / len(values)
        for name, values in columns.items()
        if values and all(isinstance(value, str) for value in values)
    }
    longest = max(lengths, key=lambda name: lengths[name], default=None)
    if longest is None or lengths[longest] < TEXT_CHARACTERS:
        raise UserError(
            f"{part.where}: none of its columns ({listed(part.columns)}) looks like texts; call that column 'text'"
        )
    return longest, None


def _named(columns: dict[str, list[Any]], names: Iterable[str]) -> str | None:
    found = (find_named(list(columns), name) for name in names)
    return next((name for name in found if name is not None), None)


def _says_splits(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) and value.strip().lower() in SPLIT_WORDS for value in values)


def _distinct(values: list[Any]) -> set[str]:
    """The values as they are written; none where some are not plain ones."""
    return {str(value) for value in values} if all(isinstance(value, str | int) for value in values) else set()
