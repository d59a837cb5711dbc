"""Checks for the same text twice, to the letter: in a split, across splits, with different labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.audit.noticed import Example, Noticed, listed, named, percent, plural
from tuneoff.data.splits import Splits
from tuneoff.data.units import Numbers
from tuneoff.records.finding import Finding

DEDUPLICATE = "Set data.deduplicate = true to remove them."


def repeat_findings(splits: Splits) -> Iterator[Noticed]:
    """Texts of validation and test that were seen before, repeats inside splits, and labels that contradict."""
    keys = splits.rows.keys
    for name in ("validation", "test"):
        rows = splits.members[name]
        shared = rows[np.isin(keys[rows], keys[seen_before(splits, name)])]
        if len(shared):
            in_train = int(np.isin(keys[shared], keys[splits.members["train"]]).sum())
            yield Noticed(_test_in_train(name, len(rows), len(shared), in_train), _examples(shared))
    for name, rows in sides(splits).items():
        again = rows[repeated(keys[rows])]
        if len(again):
            yield Noticed(_duplicates(side_name(splits, name), name, len(rows), len(again)), _examples(again))
    yield from _conflicts(splits)


def seen_before(splits: Splits, name: str) -> Numbers:
    """Rows that a study trains on or chooses by before it scores this split."""
    earlier = ["train"] if name == "validation" else ["train", "validation"]
    return np.concatenate([splits.members[split] for split in earlier])


def sides(splits: Splits) -> dict[str, Numbers]:
    """Rows by split, ascending, where validation counts as part of train if it was held out of it."""
    from_training = splits.rows.splits[splits.members["validation"]] == 0
    if not from_training.all():
        return dict(splits.members)
    train = np.sort(np.concatenate([splits.members["train"], splits.members["validation"]]))
    return {"train": train, "test": splits.members["test"]}


def side_name(splits: Splits, name: str) -> str:
    """What messages call one of `sides`."""
    return "train (with validation, which comes out of it)" if len(sides(splits)) == 2 and name == "train" else name


def repeated(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of some keys have been there before, shape (keys,)."""
    again = np.ones(len(keys), dtype=bool)
    again[np.unique(keys, return_index=True)[1]] = False
    return again


def _examples(rows: Numbers) -> list[Example]:
    return [Example((int(row),)) for row in rows[:3]]


def _test_in_train(name: str, total: int, shared: int, in_train: int) -> Finding:
    where = "train" if in_train == shared else "train or validation"
    are = plural(shared, "is", "are")
    split = "" if in_train == shared else f" ({shared - in_train:,} in validation only)"
    return Finding(
        name="test-in-train",
        severity="error",
        split=name,
        count=shared,
        message=f"{shared:,} of {total:,} {name} texts {are} also in {where}{split}, so the score on "
        "them measures memory.",
        advice=DEDUPLICATE,
    )


def _duplicates(called: str, name: str, total: int, again: int) -> Finding:
    means = "repeats count again in the score" if name == "test" else "repeats weigh again in training"
    repeat = plural(again, "repeats", "repeat")
    return Finding(
        name="duplicates",
        severity="warning",
        split=name,
        count=again,
        message=f"{again:,} of {total:,} texts of {called} {repeat} an earlier one to the letter "
        f"({percent(again, total)}); {means}.",
        advice=DEDUPLICATE,
    )


def _conflicts(splits: Splits) -> Iterator[Noticed]:
    """Texts with several labels: those of all rows that repeat one in the study, where repeats were taken out."""
    rows: Any = np.concatenate(list(splits.members.values()))
    if splits.deduplicated:
        rows = np.flatnonzero((splits.rows.splits >= 0) & np.isin(splits.rows.keys, splits.rows.keys[rows]))
        rows = rows[np.argsort(splits.rows.splits[rows], kind="stable")]  # in the order in which the first is kept
    rows = rows[np.argsort(splits.rows.keys[rows], kind="stable")]
    keys, labels = splits.rows.keys[rows], splits.rows.labels[rows]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] + np.uint64(1)))
    lowest, highest = np.minimum.reduceat(labels, starts), np.maximum.reduceat(labels, starts)
    sizes = np.diff(starts, append=len(rows))
    conflicting = np.flatnonzero(lowest != highest)
    if not len(conflicting):
        return
    of_text = np.repeat(np.arange(len(starts)), sizes)
    count = int(sizes[conflicting].sum())
    against = int((np.isin(of_text, conflicting) & (labels != labels[starts][of_text])).sum())
    examples = []
    for group in conflicting[np.argsort(rows[starts[conflicting]])][:3]:
        kept, *others = dict.fromkeys(labels[starts[group] : starts[group] + sizes[group]].tolist())
        names = [named(splits.rows.label_in_words(label)) for label in sorted([kept, *others])[:3]]
        note = listed(names)
        if splits.deduplicated:
            said = listed([named(splits.rows.label_in_words(label)) for label in others[:3]])
            note = f"{named(splits.rows.label_in_words(kept))} kept, {said} left out"
        examples.append(Example((int(rows[starts[group]]),), f"{note}:"))
    about = _settled(len(conflicting), count, against) if splits.deduplicated else _unsettled(len(conflicting), count)
    yield Noticed(about, examples)


def _unsettled(texts: int, rows: int) -> Finding:
    stand = plural(texts, "text stands", "texts stand")
    return _conflicting(
        rows,
        f"{texts:,} {stand} in {rows:,} rows with different labels; no model can be right about all of these rows, and "
        "they bound the accuracy that can be reached.",
        "Give each of these texts one label, or remove them (data.deduplicate keeps the first row of each, and its "
        "label).",
    )


def _settled(texts: int, rows: int, against: int) -> Finding:
    stand = plural(texts, "text stands", "texts stand")
    say = plural(against, "row that says", "rows that say")
    return _conflicting(
        rows,
        f"{texts:,} {stand} in {rows:,} rows of the data with different labels. Since data.deduplicate keeps the first "
        f"row of each text (of train before validation before test), the label of that row was taken, and {against:,} "
        f"{say} otherwise were left out: which label is right, nobody has decided.",
        "Look at the examples, and give each of these texts one label, or remove it.",
    )


def _conflicting(rows: int, message: str, advice: str) -> Finding:
    return Finding(
        name="conflicting-labels", severity="warning", split="all", count=rows, message=message, advice=advice
    )
