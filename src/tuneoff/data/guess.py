"""Which columns of unknown data probably hold what, judged by their names and by some thousand rows.

Columns that somebody has named are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.core.texts import in_line
from tuneoff.data.class_labels import MOST_CLASSES, RECURRING
from tuneoff.data.columns import check_column, find_named
from tuneoff.data.conventions import LABELS, PAIRS, PEOPLE, STATES, TEXTS
from tuneoff.data.formats.nested import BETWEEN
from tuneoff.data.headers import no_header
from tuneoff.data.label_signs import is_rated
from tuneoff.data.looks import Looks, look_at

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.data.source_table import SourceTable
    from tuneoff.spec.data import DataSpec

SINGLE, MULTI, REGRESSION = "single_label", "multi_label", "regression"
FEWEST_COLUMNS = 3
"""That say yes or no, so that together they are taken for the labels of an example."""
GROUP_WORDS = ("user", "author", "group", "patient", "customer", "product", "session", "thread", "document", "speaker")
MOST_BREAKDOWN_VALUES = 30
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
        named: which of `text`, `text_pair` and `label` somebody has named.
        other_texts: hold texts as well, where texts are not named.
        other_labels: could hold classes as well, where labels are not named.
        measures: hold numbers that are not all whole, which are no classes, where they are not what is learned.
        groups: have values that rows share, such as authors.
        breakdowns: have a few values, by which accuracy could be looked at.
        several: columns that hold 0 or 1 each, of which `label` is one; several labels an example, or one of several.
        one_hot: exactly one of `several` is 1 in every row.
        task: what a label is, as far as one can tell from single columns.
        label_columns: of several labels an example, where each has a column.
    """

    text: str
    text_pair: str | None
    label: str
    split: str | None
    named: tuple[str, ...]
    other_texts: tuple[str, ...]
    other_labels: tuple[str, ...]
    measures: tuple[str, ...]
    groups: tuple[str, ...]
    breakdowns: tuple[str, ...]
    several: tuple[str, ...] = ()
    one_hot: bool = False
    task: str = SINGLE
    label_columns: tuple[str, ...] = ()


def guess_columns(source: SourceTable, table: pa.Table, asked: DataSpec) -> Guess:
    """Guesses from a source's columns and its first rows.

    Args:
        source: the one to train on.
        table: its first rows.
        asked: has the names of columns that are not to be guessed.

    Raises:
        UserError: where none looks like texts, or none like classes, or one that is named is not there.
    """
    assert not isinstance(asked.label, tuple)
    named = {"text": asked.text, "text_pair": asked.text_pair, "label": asked.label}
    for option, name in named.items():
        check_column(source, f"--{option.replace('_', '-')}", name)
    looks = look_at(source, table)
    free = [name for name in looks.filled if name not in (*looks.splits[:1], *looks.indexes, *named.values())]
    label = asked.label or _usual_label(looks, free)
    text, pair = asked.text, asked.text_pair
    if text is None:
        text, pair = _guess_texts(source, looks, [name for name in free if name != label], pair)
    classes = sorted((name for name in looks.classes if name not in (text, pair)), key=_says_who_or_how)
    sets = [name for name in looks.label_sets if name not in (text, pair)]
    rated = [] if sets else [name for name in looks.measures if is_rated(name)]
    label = label or next(iter([*rated, *classes, *sets, *looks.measures]), None)
    if label is None:
        raise UserError(f"{source.where}: {_no_label(source, table, looks, free)}")
    task, columns = _task_of(label, looks, named=asked.label is not None)
    others = [name for name in looks.values if name not in (text, pair, label, *columns) and name not in looks.texts]
    repeating = [name for name in others if 2 <= looks.values[name] <= RECURRING * looks.filled[name]]
    return Guess(
        text=text,
        text_pair=pair,
        label=label,
        split=next(iter(looks.splits), None),
        named=tuple(option for option, name in named.items() if name is not None),
        other_texts=tuple(name for name in looks.texts if name not in (text, pair, label) and asked.text is None),
        other_labels=tuple(name for name in (*classes, *sets) if name not in (label, *columns) and asked.label is None),
        measures=tuple(
            name for name in looks.measures if name != label and name.lower().rpartition(BETWEEN)[2] in LABELS
        ),
        groups=tuple(
            name
            for name in repeating
            if looks.values[name] > MOST_BREAKDOWN_VALUES or any(word in name.lower() for word in GROUP_WORDS)
        ),
        breakdowns=tuple(name for name in repeating if looks.values[name] <= MOST_BREAKDOWN_VALUES),
        several=looks.yes_no if looks.one_of_several(label) and not columns else (),
        one_hot=looks.one_hot,
        task=task,
        label_columns=columns,
    )


def _task_of(label: str, looks: Looks, named: bool) -> tuple[str, tuple[str, ...]]:
    """What a label is by its column, and the columns of several labels an example, where each has one."""
    if label in looks.measures:
        return REGRESSION, ()
    if label in looks.lists:
        return MULTI, ()
    together = looks.one_of_several(label) and not looks.one_hot and len(looks.yes_no) >= FEWEST_COLUMNS
    return (MULTI, looks.yes_no) if together and not named else (SINGLE, ())


def _says_who_or_how(name: str) -> bool:
    """Whether a column's name says that it is about people or the handling of a text, not about what it says."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    return any(word in (*PEOPLE, *STATES) for word in words)


def _usual_label(looks: Looks, free: Sequence[str]) -> str | None:
    """The column with the most usual name for labels, of those whose values recur; else of numbers and lists."""
    named = [name for name in (find_named(free, name) for name in LABELS) if name is not None]
    recurring = [name for name in named if 1 <= looks.values[name] <= RECURRING * looks.filled[name]]
    others = [name for name in named if name in (*looks.measures, *looks.lists)]
    return next(iter([*recurring, *others]), None)


def _no_label(source: SourceTable, table: pa.Table, looks: Looks, free: Sequence[str]) -> str:
    """Why no column holds classes, by the one that is called like that."""
    known = f"none of its columns ({in_line(source.columns)}) looks like classes"
    named = next((name for name in (find_named(free, name) for name in LABELS) if name is not None), None)
    if named is None:
        return f"{known}; name it with --label{no_header(source.columns) if source.header else ''}"
    values: list[Any] = [value for value in table.column(named).to_pylist() if value is not None]
    if not values:
        return f"{known}: '{named}' is empty in the first {len(table):,} rows"
    if not looks.values.get(named):
        return f"{known}: '{named}' holds values such as {values[0]!r}, which are no words or whole numbers"
    return (
        f"{known}: '{named}' has {looks.values[named]:,} different values in {len(values):,} rows, as an id has, and "
        f"classes recur (at most {MOST_CLASSES:,})"
    )


def _guess_texts(source: SourceTable, looks: Looks, free: Sequence[str], second: str | None) -> tuple[str, str | None]:
    """The columns of texts and second texts; of the former alone where the latter is named.

    Args:
        source: the one to train on.
        looks: what its columns look like.
        free: columns that are used for nothing else.
        second: the column of second texts, if it is named.
    """
    both = [*free, second] if second is not None else free
    for names in PAIRS:
        one, other = (find_named(both, name) for name in names)
        if one is not None and other is not None and second in (None, other):
            return one, other
    texts = [name for name in looks.texts if name in free]
    named = [name for name in (find_named(free, name) for name in TEXTS) if name is not None]
    usual = [*(name for name in named if name in texts), *(name for name in named if BETWEEN not in name)]
    if usual:
        return usual[0], second
    if not texts:
        twice = next((name for name in source.columns if source.columns.count(name) > 1), None)
        if twice is not None:
            raise UserError(
                f"{source.where}: there are {source.columns.count(twice)} columns called '{twice}'; rename one"
            )
        raise UserError(
            f"{source.where}: none of its columns ({in_line(source.columns)}) looks like texts; name it with --text"
            f"{no_header(source.columns) if source.header else ''}"
        )
    in_order = [name for name in source.columns if name in (*texts, second)]
    pairs = ((one, other) for one in in_order for other in in_order if _belong_together(one, other))
    return next((pair for pair in pairs if second in (None, pair[1])), (texts[0], second))


def _belong_together(one: str, other: str) -> bool:
    """Whether two columns are a first and a second text, such as `query` and `answer`, or `s1` and `s2`."""
    first, second = ENDS.fullmatch(one), ENDS.fullmatch(other)
    if first is not None and second is not None and first["stem"].lower() == second["stem"].lower():
        return (first["end"].lower(), second["end"].lower()) in TWINS
    asked, answered = ASKED_AND_ANSWERED
    return any(word in one.lower() for word in asked) and any(word in other.lower() for word in answered)
