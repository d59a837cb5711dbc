"""Checks of labels that are no classes: several an example, or numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.audit.noticed import Example, Noticed, listed, named, percent, plural
from tuneoff.data.splits import Splits
from tuneoff.records.finding import Finding

FEWEST_EXAMPLES = 10
MOST_LISTED = 6
FAR = 10.0
"""Times the distance between the quartiles, beyond them: a number that far off may be a mistake, and rules the loss."""
FOLLOWS: dict[Literal["error", "warning"], float] = {"error": 0.95, "warning": 0.85}
"""By severity: the least rank correlation of numbers with the length of texts, on rows that are held out."""


def value_findings(splits: Splits) -> Iterator[Noticed]:
    """How often each label is there and how many an example has; or how numbers are spread, and follow length."""
    table = splits.rows.label_table
    assert table is not None
    for name in splits.members:
        values = table[splits.labels(name)]
        if table.shape[1] > 1:
            yield Noticed(_counts(name, splits.label_names, values))
        else:
            yield _spread(name, splits, values[:, 0])
    if table.shape[1] == 1:
        yield from _length(splits, table[:, 0])


def _counts(name: str, labels: tuple[str, ...], values: NDArray[np.float64]) -> Finding:
    counts = values.sum(axis=0).astype(int)
    total, without = len(values), int((values.sum(axis=1) == 0).sum())
    order = np.argsort(-counts, kind="stable")
    told = [f"{named(labels[index])} {counts[index]:,} ({percent(counts[index], total)})" for index in order]
    if len(told) > MOST_LISTED:
        told = [*told[: MOST_LISTED - 2], "...", told[-1]]
    none = f"; {without:,} {plural(without, 'has', 'have')} none" if without else ""
    message = (
        f"{name} has {total:,} examples with {values.sum(axis=1).mean():.2g} of {len(labels):,} labels each{none}: "
        f"{', '.join(told)}."
    )
    rare = np.flatnonzero(counts < FEWEST_EXAMPLES)
    if name != "train" or not len(rare):
        return Finding(
            name="label-counts",
            severity="info",
            split=name,
            count=total,
            message=message,
            advice="Where labels are uneven, micro F1 hardly sees the rare ones; objective = 'macro_f1' does.",
        )
    which = listed([named(labels[index]) for index in rare[:MOST_LISTED]])
    return Finding(
        name="label-counts",
        severity="warning",
        split=name,
        count=int(counts[rare].sum()),
        message=f"{message} {len(rare):,} {plural(len(rare), 'label has', 'labels have')} fewer than {FEWEST_EXAMPLES} "
        f"training examples ({which}): a model may never give {plural(len(rare), 'it', 'them')}.",
        advice="Give more examples of them, leave them out of the labels, or go by objective = 'macro_f1'.",
    )


def _spread(name: str, splits: Splits, numbers: NDArray[np.float64]) -> Noticed:
    low, first, third, high = np.quantile(numbers, (0, 0.25, 0.75, 1))
    message = (
        f"{name} has {len(numbers):,} numbers from {low:.6g} to {high:.6g}, half of them from {first:.6g} to "
        f"{third:.6g}; mean {numbers.mean():.6g}, standard deviation {numbers.std():.6g}."
    )
    reach = FAR * (third - first)
    far = np.flatnonzero((numbers < first - reach) | (numbers > third + reach)) if reach else np.empty(0, dtype=int)
    if not len(far):
        advice = "Errors are squared in training, so that a few large ones count most; a logarithm may even them out."
        return Noticed(
            Finding(name="numbers", severity="info", split=name, count=len(numbers), message=message, advice=advice)
        )
    finding = Finding(
        name="numbers",
        severity="warning",
        split=name,
        count=len(far),
        message=f"{message} {len(far):,} {plural(len(far), 'is', 'are')} far from all others: squared errors of so few "
        "rule what is learned, and what R² says.",
        advice="Mend them if they are mistakes; otherwise write the logarithm of the numbers, or cap them.",
    )
    rows = splits.members[name][far[:3]]
    return Noticed(
        finding, [Example((int(row),), f"{splits.rows.label_in_words(splits.rows.labels[row])}:") for row in rows]
    )


def _length(splits: Splits, table: NDArray[np.float64]) -> Iterator[Noticed]:
    from scipy.stats import spearmanr

    rows = np.concatenate([splits.members[name] for name in ("validation", "test")])
    lengths, numbers = splits.rows.characters[rows], table[splits.rows.labels[rows]]
    if len(rows) < FEWEST_EXAMPLES or len(np.unique(lengths)) < 2 or len(np.unique(numbers)) < 2:
        return
    follows = float(spearmanr(lengths, numbers).statistic)
    for severity, least in FOLLOWS.items():
        if abs(follows) >= least:
            finding = Finding(
                name="leak-length",
                severity=severity,
                split="all",
                count=len(rows),
                message=f"numbers follow the length of texts: on {len(rows):,} rows of validation and test their ranks "
                f"have a correlation of {follows:.2f}. A model can score high by counting.",
                advice="Look whether that is what is to be learnt; if not, cut texts to one length.",
            )
            yield Noticed(finding)
            return
