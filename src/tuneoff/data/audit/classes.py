"""Checks of the labels: how many examples each class has, where, and how long its texts are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.audit.noticed import Noticed, listed, named, percent, plural
from tuneoff.data.splits import Splits
from tuneoff.records.finding import Finding

FEWEST_EXAMPLES = 10
SMALLEST_FRACTION = 1 / 20
"""Of an equal number for each class; a class with less than that in training is rare."""
MOST_LISTED = 6


def class_findings(splits: Splits) -> Iterator[Noticed]:
    """One class in a split, missing classes, balance, and length by class."""
    counts = {name: np.bincount(splits.labels(name), minlength=len(splits.label_names)) for name in splits.members}
    for name, count in counts.items():
        if count.sum() == 1:
            yield Noticed(_one_example(name, splits.label_names, count))
        elif (count > 0).sum() == 1:
            yield Noticed(_one_class(name, splits.label_names, count))
        elif (count == 0).any():
            yield Noticed(_missing(name, splits.label_names, count, counts["train"]))
    for name, count in counts.items():
        yield Noticed(_balance(name, splits.label_names, count))
    yield Noticed(_lengths(splits))


def _one_class(name: str, labels: tuple[str, ...], count: NDArray[np.int64]) -> Finding:
    return Finding(
        name="one-class-split",
        severity="error",
        split=name,
        count=int(count.sum()),
        message=f"all {count.sum():,} {name} examples have the label {named(labels[count.argmax()])}; "
        "this happens when rows sorted by label are cut at the front, and a model that has learnt nothing "
        "then scores 100%.",
        advice='Use data.sampling = "stratified" on the whole file, or shuffle its rows first.',
    )


def _one_example(name: str, labels: tuple[str, ...], count: NDArray[np.int64]) -> Finding:
    means = "nothing can be learnt from it" if name == "train" else "its score is 0% or 100%, and says nothing"
    return Finding(
        name="one-class-split",
        severity="error",
        split=name,
        count=1,
        message=f"{name} has a single example, with the label {named(labels[count.argmax()])}; {means}.",
        advice=f"Give more rows, or more {name} examples (data.{name}_size).",
    )


def _missing(name: str, labels: tuple[str, ...], count: NDArray[np.int64], trained: NDArray[np.int64]) -> Finding:
    missing = np.flatnonzero(count == 0)
    names = [named(labels[index]) for index in missing[:MOST_LISTED]]
    if len(missing) > MOST_LISTED:
        names.append(f"{len(missing) - MOST_LISTED} more")
    have = plural(len(missing), "has", "have")
    means = (
        "the model cannot learn what it never sees, and gets every such example wrong."
        if name == "train"
        else f"the {name} score says nothing about {plural(len(missing), 'it', 'them')}."
    )
    return Finding(
        name="missing-class",
        severity="warning",
        split=name,
        count=len(missing),
        message=f"{len(missing):,} of {len(labels):,} classes {have} no {name} example ({listed(names)}); {means}",
        advice=f"Give more {name} examples, or merge or remove rare classes.",
    )


def _balance(name: str, labels: tuple[str, ...], count: NDArray[np.int64]) -> Finding:
    total = int(count.sum())
    rarest = int(count.argmin())
    order = np.argsort(-count, kind="stable")
    if len(labels) <= MOST_LISTED:
        counts = [f"{named(labels[index])} {count[index]:,} ({percent(count[index], total)})" for index in order]
        message = f"{name} has {total:,} examples: {listed(counts)}."
    else:
        most = order[0]
        message = (
            f"{name} has {total:,} examples of {len(labels):,} classes, from {count[most]:,} of {named(labels[most])} "
            f"({percent(count[most], total)}) to {count[rarest]:,} of {named(labels[rarest])}; half of the classes "
            f"have at most {int(np.median(count)):,}."
        )
    few = count < FEWEST_EXAMPLES
    rare = few | (count < SMALLEST_FRACTION * total / len(labels))
    if name != "train" or not rare.any() or (count > 0).sum() == 1:
        return Finding(
            name="class-balance",
            severity="info",
            split=name,
            count=total,
            message=message,
            advice="Where classes are uneven, accuracy hardly sees the rare ones: with objective = 'macro_f1' or 'mcc' "
            "the study goes by what does; training.class_weights = 'balanced' gives each class the same say.",
        )
    why = f"fewer than {FEWEST_EXAMPLES} examples" if few.any() else "under a twentieth of an even share"
    which = f"the class {named(labels[rarest])} has" if rare.sum() == 1 else f"{int(rare.sum()):,} classes have"
    return Finding(
        name="class-balance",
        severity="warning",
        split=name,
        count=int(count[rare].sum()),
        message=f"{message} In train {which} {why}: a model can leave out what is that rare and lose hardly any "
        "accuracy.",
        advice="Set objective = 'macro_f1' or 'mcc', so that the study goes by what sees rare classes; give more "
        "examples of them, merge them, or try training.class_weights = 'balanced'.",
    )


def _lengths(splits: Splits) -> Finding:
    characters, labels = splits.rows.characters[splits.members["train"]], splits.labels("train")
    medians = {
        int(index): float(np.median(characters[labels == index])) for index in np.unique(labels)
    }  # one class at a time: there are at most a thousand
    order = sorted(medians, key=lambda index: -medians[index])
    said = [f"{named(splits.label_names[index])} {medians[index]:,.0f}" for index in order]
    if len(said) > MOST_LISTED:
        said = [*said[:3], "...", *said[-3:]]
    return Finding(
        name="length-by-class",
        severity="info",
        split="train",
        count=len(labels),
        message=f"half of the training texts of a class have at most so many characters: {', '.join(said)}.",
        advice="Where they differ much, a model may learn length; see leak-length and truncation.",
    )
