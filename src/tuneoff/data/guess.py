"""Which columns of unknown data probably hold what, judged by their names and by some thousand rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.data.columns import LABELS, PAIRS, PEOPLE, STATES, TEXTS, find_named, listed
from tuneoff.data.headers import no_header
from tuneoff.data.labels import MOST_CLASSES, several_labels
from tuneoff.data.looks import Looks, look_at

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.data.sources import Part

GROUP_WORDS = ("user", "author", "group", "patient", "customer", "product", "session", "thread", "document", "speaker")
RECURRING = 0.9
"""Different values of rows, at most, where values recur."""
MOST_PARTS = 30
"""Values of a column by which accuracy could be broken down."""
ASKED_AND_ANSWERED = (
    ("query", "question", "prompt", "context", "anchor", "source", "claim", "instruction", "post"),
    (
        "answer",
        "passage",
        "document",
        "response",
        "reply",
        "completion",
        "candidate",
        "evidence",
        "hypothesis",
        "target",
    ),
)
"""Words in the names of first and second texts that say nothing without each other."""
ENDS = re.compile(r"(?P<stem>.*?)[_ .-]?(?P<end>1|2|a|b|one|two|first|second|left|right)", re.IGNORECASE)
TWINS = (("1", "2"), ("a", "b"), ("one", "two"), ("first", "second"), ("left", "right"))


@dataclass(frozen=True)
class Guess:
    """Names of columns.

    Attributes:
        text: holds the texts.
        text_pair: holds second texts.
        label: holds the classes.
        split: says which split a row is of.
        other_texts: hold texts as well.
        other_labels: could hold classes as well.
        groups: have values that rows share, such as authors.
        breakdowns: have a few values, by which accuracy could be looked at.
        several: columns that hold 0 or 1 each, of which `label` is one; several labels an example, or one of several.
        one_hot: exactly one of `several` is 1 in every row.
    """

    text: str
    text_pair: str | None
    label: str
    split: str | None
    other_texts: tuple[str, ...]
    other_labels: tuple[str, ...]
    groups: tuple[str, ...]
    breakdowns: tuple[str, ...]
    several: tuple[str, ...] = ()
    one_hot: bool = False


def guess_columns(part: Part, table: pa.Table) -> Guess:
    """Guesses from a part's columns and its first rows.

    Raises:
        UserError: where none looks like texts, or none like classes.
    """
    looks = look_at(part, table)
    free = [name for name in looks.filled if name not in (*looks.splits[:1], *looks.indexes)]
    label = _usual_label(looks, free)
    text, pair = _guess_texts(part, looks, [name for name in free if name != label])
    classes = sorted((name for name in looks.classes if name not in (text, pair)), key=_says_who_or_how)
    label = label or next(iter(classes), None)
    if label is None:
        raise UserError(f"{part.where}: {_no_label(part, table, looks, free)}")
    others = [name for name in looks.values if name not in (text, pair, label) and name not in looks.texts]
    repeating = [name for name in others if 2 <= looks.values[name] <= RECURRING * looks.filled[name]]
    return Guess(
        text=text,
        text_pair=pair,
        label=label,
        split=next(iter(looks.splits), None),
        other_texts=tuple(name for name in looks.texts if name not in (text, pair, label)),
        other_labels=tuple(name for name in classes if name != label),
        groups=tuple(
            name
            for name in repeating
            if looks.values[name] > MOST_PARTS or any(word in name.lower() for word in GROUP_WORDS)
        ),
        breakdowns=tuple(name for name in repeating if looks.values[name] <= MOST_PARTS),
        several=looks.yes_no if looks.one_of_several(label) else (),
        one_hot=looks.one_hot,
    )


def _says_who_or_how(name: str) -> bool:
    """Whether a column's name says that it is about people or the handling of a text, not about what it says."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    return any(word in (*PEOPLE, *STATES) for word in words)


def _usual_label(looks: Looks, free: Sequence[str]) -> str | None:
    """The column with the most usual name for classes, of those whose values recur."""
    named = [name for name in (find_named(free, name) for name in LABELS) if name is not None]
    return next((name for name in named if 1 <= looks.values[name] <= RECURRING * looks.filled[name]), None)


def _no_label(part: Part, table: pa.Table, looks: Looks, free: Sequence[str]) -> str:
    """Why no column holds classes, by the one that is called like that."""
    known = f"none of its columns ({listed(part.columns)}) looks like classes"
    named = next((name for name in (find_named(free, name) for name in LABELS) if name is not None), None)
    if named is None:
        return f"{known}; call that column 'label'{no_header(part.columns) if part.header else ''}"
    values: list[Any] = [value for value in table.column(named).to_pylist() if value is not None]
    odd = next((value for value in values if isinstance(value, list | dict)), None)
    if odd is not None:
        return f"{known}: '{named}' {several_labels(odd)}"
    if not values:
        return f"{known}: '{named}' is empty in the first {len(table):,} rows"
    if not looks.values.get(named):
        return f"{known}: '{named}' holds values such as {values[0]!r}, and tuneoff trains no regressions"
    return (
        f"{known}: '{named}' has {looks.values[named]:,} different values in {len(values):,} rows, and classes recur "
        f"(at most {MOST_CLASSES})"
    )


def _guess_texts(part: Part, looks: Looks, free: Sequence[str]) -> tuple[str, str | None]:
    for names in PAIRS:
        first, second = (find_named(free, name) for name in names)
        if first is not None and second is not None:
            return first, second
    texts = [name for name in looks.texts if name in free]
    named = [name for name in (find_named(free, name) for name in TEXTS) if name is not None]
    if named:
        return next((name for name in named if name in texts), named[0]), None
    if not texts:
        raise UserError(
            f"{part.where}: none of its columns ({listed(part.columns)}) looks like texts; call that column 'text'"
            f"{no_header(part.columns) if part.header else ''}"
        )
    in_order = [name for name in part.columns if name in texts]
    pairs = ((one, other) for one in in_order for other in in_order if _belong_together(one, other))
    return next(pairs, (texts[0], None))


def _belong_together(one: str, other: str) -> bool:
    """Whether two columns are a first and a second text, such as `query` and `answer`, or `s1` and `s2`."""
    first, second = ENDS.fullmatch(one), ENDS.fullmatch(other)
    if first is not None and second is not None and first["stem"].lower() == second["stem"].lower():
        return (first["end"].lower(), second["end"].lower()) in TWINS
    asked, answered = ASKED_AND_ANSWERED
    return any(word in one.lower() for word in asked) and any(word in other.lower() for word in answered)
