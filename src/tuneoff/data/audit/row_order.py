"""Check whether rows are sorted by label.

Sorted rows are harmless in themselves: examples are sampled by class and shuffled in training, and no model sees the
number of a row. So it is a warning: once somebody takes the head of the file, most of a class is gone. It is an error
where that has happened: splits that come from the same rows differ in their fractions of classes by 20 points or more,
which sampling by class never does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tuneoff.data.audit.leaks import bins, judge, most_frequent
from tuneoff.data.audit.noticed import Noticed, percent
from tuneoff.data.splits import Splits
from tuneoff.records.finding import Finding

UNLIKE = 0.2
"""Half the sum of differences of the classes' fractions between two splits."""


def row_order_findings(splits: Splits) -> Iterator[Noticed]:
    """Learns the label by position on every other training row, and tries it on those between."""
    labels = splits.labels("train")
    if len(labels) < 4:
        return
    position = np.arange(len(labels)) * bins(len(labels) // 2) // len(labels)
    known, best = most_frequent(position[::2], labels[::2], len(splits.label_names))
    guesses = best[np.clip(np.searchsorted(known, position[1::2]), 0, len(known) - 1)]
    severity, accuracy, majority = judge(guesses, labels[1::2])
    if severity is None:
        return
    sorted_by = (
        f"the training rows are sorted by label: the place of a row alone tells {percent(accuracy, 1)} of the labels, "
        f"the most frequent class {percent(majority, 1)}."
    )
    unlike = _unlike(splits)
    if unlike:
        name, distance = max(unlike.items(), key=lambda item: item[1])
        finding = Finding(
            name="leak-row-order",
            severity="error",
            split=name,
            count=splits.sizes[name],
            message=f"{sorted_by} And {name} was cut out of them in that order: its shares of classes differ from "
            f"those of train by {100 * distance:.0f} points, so that its accuracy measures the cut.",
            advice='Use data.sampling = "stratified" on the whole file, or shuffle its rows first.',
        )
    else:
        finding = Finding(
            name="leak-row-order",
            severity="warning",
            split="train",
            count=len(labels),
            message=f"{sorted_by} That does no harm here: examples are taken by class, and shuffled in training.",
            advice='Never take the first rows of this file (data.sampling = "first", or head).',
        )
    yield Noticed(finding)


def _unlike(splits: Splits) -> dict[str, float]:
    """How far the classes' fractions are from train's, for splits from the same rows where that is far."""
    classes = len(splits.label_names)
    train = np.bincount(splits.labels("train"), minlength=classes) / splits.sizes["train"]
    unlike = {}
    for name in ("validation", "test"):
        if (splits.rows.splits[splits.members[name]] != 0).any():
            continue  # a file of its own, which may differ on purpose
        fractions = np.bincount(splits.labels(name), minlength=classes) / splits.sizes[name]
        distance = float(np.abs(fractions - train).sum() / 2)
        if distance >= UNLIKE:
            unlike[name] = distance
    return unlike
