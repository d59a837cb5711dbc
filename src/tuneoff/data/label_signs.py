"""What the names of classes give away: that some mean "none", are one class spelt twice, or several classes at once."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tuneoff.data.decimals import have_decimal_commas

NO_LABEL = {
    *("nan", "na", "n/a", "n.a.", "#n/a", "<na>", "null", "nil", "(null)", "#value!", "#ref!", "#null!"),
    *("unlabeled", "unlabelled", "no label", "no_label", "nolabel", "not labeled", "not labelled", "unannotated"),
    *("-100", "-99", "-999", "-9999"),
}
"""Spellings that mean "no label", in small letters."""
PERHAPS_NO_LABEL = {
    *("none", "unknown", "unk", "<unk>", "undefined", "unspecified", "missing", "not available", "not applicable"),
    *("?", "??", "???", "-", "--", ".", "tbd", "todo", "empty", "blank", "no answer"),
}
"""Spellings that may be a class of their own."""
WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")
RARE = 0.1
"""Of all rows; -1 beside 0 and 1 is a class (negative, neutral, positive) unless it is rarer than that."""
RATINGS = {
    *("rating", "ratings", "star", "stars", "score", "scores", "grade", "points", "rank", "level", "severity"),
    *("bewertung", "sterne", "punkte", "schulnote", "stufe", "valoración", "estrellas", "étoiles", "voto", "stelle"),
}
"""Words in the names of columns that hold steps of a scale."""
SCALES = {(1, 5, False)}
"""Lowest and highest label, and whether some between are missing, of scales that speak for themselves."""
FEWEST_STEPS, MOST_STEPS = 3, 20
WORD = re.compile(r"[^\W\d_]+")
BETWEEN = ("|", ";", ",", "/", "+", "&", "\t")
LIST = re.compile(r"\s*[\[({](?P<items>.*)[\])}]\s*", re.DOTALL)
BETWEEN_WORDS = re.compile(r"(?<=\w)[\s_-]+(?=\w)")
RECURRING_PIECES = 0.5
"""Fraction of the pieces of labels that more than one label has to have, for the labels to be several classes each."""


def is_rated(column: str) -> bool:
    """Whether a column's name says that it holds steps of a scale."""
    return any(word in RATINGS for word in WORD.findall(column.lower()))


def means_none(label: object) -> bool:
    """Whether a label is a word that surely means "no label"."""
    return isinstance(label, str) and label.strip().casefold() in NO_LABEL and not WHOLE.fullmatch(label.strip())


def sentinels(
    names: Sequence[str], counts: Sequence[int], declared: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Labels that mean "no label".

    Args:
        names: the labels, each once, as they are spelt.
        counts: rows that have each.
        declared: the names of classes that the source declares, where it does.

    Returns:
        Those that surely do, and those that may.
    """
    sure = [name for name in names if name.strip().casefold() in NO_LABEL]
    perhaps = [name for name in names if name.strip().casefold() in PERHAPS_NO_LABEL]
    if declared:
        sure = list(dict.fromkeys([*sure, *(name for name in names if name not in declared)]))
        return sure, [name for name in perhaps if name not in declared]
    numbers = {name: int(float(name)) for name in names if WHOLE.fullmatch(name.strip()) and name not in sure}
    below = [name for name, number in numbers.items() if number < 0]
    others = {number for number in numbers.values() if number >= 0}
    if not below or (len(numbers) + len(sure) == len(names) and not others):
        pass
    elif others != {-numbers[name] for name in below} | ({0} & others):  # no scale, such as -2, -1, 0, 1, 2
        (sure if len(below) == 1 else perhaps).extend(below)
    elif others == {0, 1}:
        row = dict(zip(names, counts, strict=True))
        (sure if row[below[0]] < RARE * sum(counts) else perhaps).extend(below)
    if len(names) - len(sure) < 2:
        return [], [*sure, *perhaps]
    return sure, perhaps


@dataclass(frozen=True)
class Ordered:
    """Labels that are whole numbers and seem to have an order.

    Attributes:
        many: whether they are so many that they are numbers to predict rather than steps of a scale.
    """

    many: bool

    def said(self, names: Sequence[str]) -> str:
        """What is known of such labels, as half a sentence."""
        if self.many:
            return (
                f"the labels are {len(names):,} different whole numbers from {names[0]} to {names[-1]}, as numbers to "
                "predict are, and each is taken for a class apart"
            )
        return (
            f"the labels {names[0]} to {names[-1]} seem to be steps of a scale, and are classes: their order is not "
            f"used, so that {names[-2]} for {names[-1]} is as wrong as {names[0]}"
        )

    @property
    def cure(self) -> str:
        """What to do about them."""
        if self.many:
            return "set data.task = 'regression' to predict the number"
        return "where near misses matter less, set data.task = 'regression' to predict the number"


def ordered(names: Sequence[str], column: str) -> Ordered | None:
    """Whether labels are numbers whose order means something, judged by their column's name and by their gaps.

    Args:
        names: the labels, in order.
        column: what the source calls their column.
    """
    if len(names) < FEWEST_STEPS or not all(map(WHOLE.fullmatch, names)):
        return None
    numbers = [int(float(name)) for name in names]
    gaps = numbers[-1] - numbers[0] >= len(numbers)
    rated = is_rated(column)
    if len(names) > MOST_STEPS:
        return Ordered(many=True) if gaps or rated else None
    return Ordered(many=False) if rated or (numbers[0], numbers[-1], gaps) in SCALES else None


def spelt_alike(names: Sequence[str]) -> list[list[str]]:
    """Labels that differ in case, leading zeros, or what stands between words alone; groups of two or more."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_loosely(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def several_in_one(names: Sequence[str]) -> tuple[str, list[str]] | None:
    """Whether labels are several classes each, such as `sports|news`.

    Returns:
        What stands between them (`"[]"` for lists), and labels that hold several; None where they are single classes.
    """
    lists = [name for name in names if LIST.fullmatch(name) and (len(_items(name)) > 1 or name.strip()[0] == "[")]
    if lists and 2 * len(lists) >= len(names):
        return "[]", sorted(lists, key=lambda name: -len(_items(name)))
    for separator in BETWEEN:
        pieces = {name: [piece.strip() for piece in name.split(separator)] for name in names}
        joined = [name for name, its in pieces.items() if len(its) > 1 and all(its)]
        occurrences = Counter(piece for its in pieces.values() for piece in set(its))
        if not joined or (separator == "," and have_decimal_commas(names)):
            continue
        known = [piece for name in joined for piece in pieces[name]]
        if sum(occurrences[piece] > 1 for piece in known) > RECURRING_PIECES * len(known):
            return separator, joined
    return None


def _items(name: str) -> list[str]:
    match = LIST.fullmatch(name)
    return [item for item in (match["items"] if match else name).split(",") if item.strip()]


def _loosely(name: str) -> str:
    text = unicodedata.normalize("NFKC", name).strip().casefold()
    return str(int(float(text))) if WHOLE.fullmatch(text) else BETWEEN_WORDS.sub(" ", text)
