"""Checks whether something trivial gives the labels away: a rule is learnt on train and tried on held-out rows.

It is an error where the rule is right for at least 95% of the held-out rows and makes at most a fifth of the mistakes
of always guessing the most frequent class. The second bound says "far above the majority" for uneven classes too: where
one class has 90%, no rule can be 20 points better than that. A warning is 85% and two fifths. Texts that say what they
mean stay far below: on IMDb the best word is right for two thirds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.texts import printable
from tuneoff.data.audit.noticed import Example, Noticed, listed, named, percent
from tuneoff.data.audit.survey import MOST_ROWS, Surveys
from tuneoff.data.splits import Splits
from tuneoff.records.finding import Finding

BOUNDS: dict[Literal["error", "warning"], tuple[float, float]] = {"error": (0.95, 0.2), "warning": (0.85, 0.4)}
"""By severity: the lowest accuracy, and the highest fraction of the majority's mistakes that the rule makes."""
FEWEST_MISTAKES = 10
"""Of the majority on held-out rows; with fewer, a rule may be right by chance."""
ROWS_A_BIN = 20
MOST_BINS = 256
MARKS_A_CLASS = 0.95
"""F1 from which a word is said to give one class of several away."""

Labels = NDArray[np.int32]


def leak_findings(splits: Splits, surveys: Surveys) -> Iterator[Noticed]:
    """Length, first word, single words; row order is another matter (`row_order`)."""
    held_out = np.concatenate([splits.labels(name) for name in ("validation", "test")])
    yield from _length(splits, held_out)
    yield from _first_token(splits, surveys, held_out)
    yield from _single_word(splits, surveys)


def judge(guesses: Labels, labels: Labels) -> tuple[Literal["error", "warning"] | None, float, float]:
    """How bad it is that a rule makes these guesses; its accuracy, and that of the most frequent class."""
    accuracy = float((guesses == labels).mean())
    majority = float(np.bincount(labels).max() / len(labels))
    if (1 - majority) * len(labels) >= FEWEST_MISTAKES:
        for severity, (lowest, mistakes) in BOUNDS.items():
            if accuracy >= lowest and 1 - accuracy <= mistakes * (1 - majority):
                return severity, accuracy, majority
    return None, accuracy, majority


def bins(rows: int) -> int:
    """Into how many bins as many values are put."""
    return int(np.clip(rows // ROWS_A_BIN, 2, MOST_BINS))


def most_frequent(values: NDArray[Any], labels: Labels, classes: int) -> tuple[NDArray[Any], Labels]:
    """The different values, ascending, and the most frequent label at each (the lowest of several)."""
    found, index = np.unique(values, return_inverse=True)
    pairs, counts = np.unique(index.astype(np.int64) * classes + labels, return_counts=True)
    order = np.lexsort((pairs, -counts, pairs // classes))
    first = order[np.unique(pairs[order] // classes, return_index=True)[1]]
    return found, (pairs[first] % classes).astype(np.int32)


def _length(splits: Splits, held_out: Labels) -> Iterator[Noticed]:
    lengths = {name: splits.rows.characters[rows] for name, rows in splits.members.items()}
    edges = np.unique(np.quantile(lengths["train"], np.linspace(0, 1, bins(len(lengths["train"])) + 1)[1:-1]))
    bin_of = np.searchsorted(edges, lengths["train"], side="right")
    known, best = most_frequent(bin_of, splits.labels("train"), len(splits.label_names))
    tried = np.searchsorted(edges, np.concatenate([lengths["validation"], lengths["test"]]), side="right")
    guesses = best[np.clip(np.searchsorted(known, tried), 0, len(known) - 1)]
    severity, accuracy, majority = judge(guesses, held_out)
    if severity:
        labels = splits.labels("train")
        ranges = [
            f"{named(splits.label_names[label])}: most have {low:,.0f} to {high:,.0f} characters"
            for label in np.unique(labels)[:3]
            for low, high in [np.quantile(lengths["train"][labels == label], [0.05, 0.95])]
        ]
        yield Noticed(
            _leak("leak-length", severity, "the number of characters of a text", accuracy, majority, len(held_out)),
            [Example(note=text) for text in ranges],
        )


def _first_token(splits: Splits, surveys: Surveys, held_out: Labels) -> Iterator[Noticed]:
    labels = splits.labels("train")
    judged = []
    for kind, tokens in surveys.of["train"].first_tokens.items():
        known, best = most_frequent(tokens, labels, len(splits.label_names))
        tried = np.concatenate([surveys.of[name].first_tokens[kind] for name in ("validation", "test")])
        index = np.clip(np.searchsorted(known, tried), 0, len(known) - 1)
        unseen = np.int32(np.bincount(labels).argmax())
        judged.append((*judge(np.where(known[index] == tried, best[index], unseen), held_out), kind))
    severity, accuracy, majority, kind = max(judged, key=lambda item: item[1])
    if severity:
        tokens = surveys.of["train"].first_tokens[kind]
        _, first, counts = np.unique(tokens, return_index=True, return_counts=True)
        rows = splits.members["train"][first[np.argsort(-counts, kind="stable")[:3]]]
        yield Noticed(
            _leak("leak-first-token", severity, "the first word of a text", accuracy, majority, len(held_out)),
            [Example((int(row),), f"{named(splits.label_names[splits.rows.labels[row]])}:") for row in rows],
        )


def _single_word(splits: Splits, surveys: Surveys) -> Iterator[Noticed]:
    rows = np.concatenate([surveys.of[name].sampled for name in ("validation", "test")])
    labels = splits.rows.labels[rows]
    judged = []
    for kind, markers in surveys.markers.items():
        ranks = np.concatenate([surveys.of[name].ranks[kind] for name in ("validation", "test")])
        judged.append((*judge(markers.guesses(ranks), labels), kind, ranks))
    severity, accuracy, majority, kind, ranks = max(judged, key=lambda item: item[1])
    markers, spelled = surveys.markers[kind], surveys.spelled[kind]
    telling = _telling(ranks, markers.classes, labels)
    if severity is None and not telling:
        return
    shown = telling or list(range(len(markers.classes)))
    examples = [
        Example(note=f"'{printable(spelled[rank], 40)}' stands for {named(splits.label_names[markers.classes[rank]])}")
        for rank in shown
        if rank in spelled
    ]
    if severity:
        what = "whether one word" + (" for each class" if len(splits.label_names) > 2 else "") + " is in a text"
        finding = _leak(
            "leak-single-word", severity, what, accuracy, majority, len(labels), len(labels) < _held_out(splits)
        )
    else:
        classes = [named(splits.label_names[markers.classes[rank]]) for rank in telling[:3]]
        finding = Finding(
            name="leak-single-word",
            severity="warning",
            split="all",
            count=int(np.isin(labels, markers.classes[telling]).sum()),
            message=f"one word gives away {len(telling)} of {len(splits.label_names)} classes ({listed(classes)}"
            f"{', ...' if len(telling) > 3 else ''}): it is in nearly all of their texts and in hardly any other.",
            advice="Look at the words; if they are no part of what is to be learnt, remove them from the texts.",
        )
    yield Noticed(finding, examples)


def _held_out(splits: Splits) -> int:
    return splits.sizes["validation"] + splits.sizes["test"]


def _telling(ranks: NDArray[np.int64], classes: Labels, labels: Labels) -> list[int]:
    """Markers of classes with ten held-out texts or more that stand in nearly all of these and in hardly any other."""
    telling = []
    for rank, label in enumerate(classes):
        own, met = labels == label, ranks == rank
        if FEWEST_MISTAKES <= own.sum() <= len(labels) - FEWEST_MISTAKES:
            f1 = 2 * (own & met).sum() / (own.sum() + met.sum())
            if f1 >= MARKS_A_CLASS:
                telling.append(rank)
    return telling


def _leak(
    name: str,
    severity: Literal["error", "warning"],
    what: str,
    accuracy: float,
    majority: float,
    rows: int,
    sampled: bool = False,
) -> Finding:
    tried = f"{rows:,} rows of validation and test" + (f" (at most {MOST_ROWS:,} of each)" if sampled else "")
    return Finding(
        name=name,
        severity=severity,
        split="all",
        count=round(accuracy * rows),
        message=f"{what} gives the label away: a rule learnt on train that looks at nothing else is right for "
        f"{percent(accuracy, 1)} of {tried}, the most frequent class for {percent(majority, 1)}. A model can score "
        "that without reading, so its accuracy says little about texts from elsewhere.",
        advice="Look at how the file was made and remove what gives the label away, unless it is part of the task.",
    )
