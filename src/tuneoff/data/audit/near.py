"""Checks for texts that are nearly the same: but for case and punctuation in all rows, by MinHash in a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.audit.minhash import ALIKE, similar_pairs
from tuneoff.data.audit.noticed import Example, Noticed, percent, plural
from tuneoff.data.audit.repeats import repeated, seen_before, side_name, sides
from tuneoff.data.audit.survey import MOST_ROWS, Surveys, columns_of
from tuneoff.data.splits import Splits
from tuneoff.data.units import Numbers
from tuneoff.records.finding import Finding

NOTHING = np.frombuffer(hashlib.blake2b(b"", digest_size=8).digest(), dtype="<u8").astype(np.uint64)[0]
"""The loose key of texts without any letter or digit, which are not alike for that."""


def near_findings(splits: Splits, surveys: Surveys) -> Iterator[Noticed]:
    """Near duplicates of texts seen before, and inside splits, beyond those that are the same to the letter."""
    pairs = _pairs(splits, surveys)
    for name in ("validation", "test"):
        rows = splits.members[name]
        near = _Near.across(splits, rows, seen_before(splits, name), pairs)
        if near.count:
            yield Noticed(_across(splits, name, near), near.examples(splits))
    for name, rows in sides(splits).items():
        near = _Near.inside(splits, rows, pairs)
        if near.count:
            yield Noticed(_inside(splits, name, len(rows), near), near.examples(splits))


def _pairs(splits: Splits, surveys: Surveys) -> NDArray[np.int64]:
    """Numbers of similar rows, of one of `sides` in the order of its rows, or of two in theirs; shape (pairs, 2)."""
    rows = np.concatenate([surveys.of[name].sampled for name in splits.members])
    signed = np.concatenate([surveys.of[name].signatures for name in splits.members])
    side = np.zeros(len(splits.rows), dtype=np.int8)
    for index, members in enumerate(sides(splits).values()):
        side[members] = index
    order = np.lexsort((rows, side[rows]))
    pairs = rows[order][similar_pairs(signed[order], len(columns_of(splits)))]
    return pairs[splits.rows.loose_keys[pairs[:, 1]] != NOTHING]


class _Near:
    """Near duplicates of one kind: those that differ in case and punctuation, and similar ones beside them."""

    def __init__(self, loose: Numbers, similar: NDArray[np.int64], earlier: Numbers) -> None:
        self.loose = loose
        self.similar = similar[np.unique(similar[:, 1], return_index=True)[1]]
        self._earlier = earlier

    @property
    def count(self) -> int:
        return len(self.loose) + len(self.similar)

    @classmethod
    def inside(cls, splits: Splits, rows: Numbers, pairs: NDArray[np.int64]) -> _Near:
        """Rows that come nearly again inside a split."""
        keys, loose_keys = splits.rows.keys[rows], splits.rows.loose_keys[rows]
        same = repeated(keys)
        loose = repeated(loose_keys) & ~same & (loose_keys != NOTHING)
        return cls(rows[loose], _with(pairs, rows, rows[~same & ~loose], len(splits.rows)), rows)

    @classmethod
    def across(cls, splits: Splits, rows: Numbers, before: Numbers, pairs: NDArray[np.int64]) -> _Near:
        """Rows of a split that are nearly those of splits before it."""
        keys, loose_keys = splits.rows.keys, splits.rows.loose_keys
        same = np.isin(keys[rows], keys[before])
        loose = np.isin(loose_keys[rows], loose_keys[before]) & ~same & (loose_keys[rows] != NOTHING)
        both_ways = np.concatenate([pairs, pairs[:, ::-1]])  # validation comes from between the rows of train
        return cls(rows[loose], _with(both_ways, before, rows[~same & ~loose], len(splits.rows)), before)

    def examples(self, splits: Splits) -> list[Example]:
        """Two of similar texts, the rest of those that differ in case and punctuation."""
        shown = [Example((int(first), int(second))) for first, second in self.similar[:2]]
        loose_keys = splits.rows.loose_keys
        for row in self.loose[: 3 - len(shown)]:
            first = self._earlier[loose_keys[self._earlier] == loose_keys[row]][0]
            shown.append(Example((int(first), int(row))))
        return shown

    def said(self) -> str:
        """What the near duplicates are."""
        kinds = []
        if len(self.loose):
            kinds.append(f"{len(self.loose):,} but for case, punctuation or spaces")
        if len(self.similar):
            kinds.append(
                f"{len(self.similar):,} with about {ALIKE:.0%} or more of their three-word sequences in common"
            )
        return " and ".join(kinds)


def _with(pairs: NDArray[np.int64], earlier: Numbers, later: Numbers, total: int) -> NDArray[np.int64]:
    """The pairs whose first row is one of `earlier` and whose second is one of `later`."""
    first, second = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
    first[earlier] = True
    second[later] = True
    return pairs[first[pairs[:, 0]] & second[pairs[:, 1]]]


def _sampled(splits: Splits) -> str:
    if max(splits.sizes.values()) <= MOST_ROWS:
        return ""
    return f" Three-word sequences were compared for {MOST_ROWS:,} texts of each larger split, so there may be more."


def _across(splits: Splits, name: str, near: _Near) -> Finding:
    size = splits.sizes[name]
    where = "train" if name == "validation" else "train or validation"
    are = plural(near.count, "is", "are")
    return Finding(
        name="near-test-in-train",
        severity="warning",
        split=name,
        count=near.count,
        message=f"{near.count:,} of {size:,} {name} texts {are} nearly the same as one of {where} "
        f"({percent(near.count, size)}): {near.said()}. What was seen before is easier than new texts, and raises the "
        f"score.{_sampled(splits)}",
        advice="Look at the examples; remove such rows, or keep them together with data.group (data.deduplicate only "
        "removes texts that are the same to the letter).",
    )


def _inside(splits: Splits, name: str, size: int, near: _Near) -> Finding:
    are = plural(near.count, "is", "are")
    return Finding(
        name="near-duplicates",
        severity="warning",
        split=name,
        count=near.count,
        message=f"{near.count:,} of {size:,} texts of {side_name(splits, name)} {are} nearly the same as an earlier "
        f"one ({percent(near.count, size)}): {near.said()}. There is less to learn from, or to score, than the number "
        f"of rows says.{_sampled(splits)}",
        advice="Look at the examples; remove such rows if they are not meant (data.deduplicate only removes texts that "
        "are the same to the letter).",
    )
