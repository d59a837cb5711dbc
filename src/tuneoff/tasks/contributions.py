"""What each example adds to a metric that is no mean over examples, so that it can be treated as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Classes = NDArray[np.integer[Any]]

MOST_AT_ONCE = 2**22
"""Counts that are held at a time."""


@dataclass(frozen=True)
class Contributions:
    """What each example adds to a metric.

    Attributes:
        values: shape (examples,); their mean is the metric.
        unit: how far one example moves the metric by being right or wrong, times the number of examples; of examples
            that move it differently the mean of squares over the mean. 1 for accuracy. Where it is 2, so many examples
            tell as little as half as many tell of accuracy.
        largest: as `unit`, of the class whose examples move it most.
    """

    values: Floats
    unit: float
    largest: float


def confusion(labels: Classes, predictions: Classes) -> Floats:
    """Examples by label and prediction, shape (classes, classes)."""
    classes = int(max(labels.max(), predictions.max())) + 1
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes).astype(float)


def of_each_class(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Examples that are right, that have the class, and that are predicted to, each of shape (..., classes)."""
    return np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)


def f1_scores(counts: Floats) -> Floats:
    """F1 of each class, 0 where it neither occurs nor is predicted, shape (..., classes)."""
    right, labels, predictions = of_each_class(counts)
    both = labels + predictions
    return np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0)


def over_classes(values: Floats, of: NDArray[np.bool_]) -> Floats:
    """The mean over some of the classes, which are the last axis of both."""
    return np.where(of, values, 0.0).sum(-1) / of.sum(-1)


def contributions_of(metric: Callable[[Floats], Floats], labels: Classes, predictions: Classes) -> Contributions:
    """The contributions to a metric of predicted classes.

    An example's contribution is the metric plus what the metric would lose without the example, times the number of the
    others (the jackknife), moved so that the mean is the metric. Examples of one label and prediction have the same.
    Where a class has few examples this tells more of how far the metric may be off than its derivatives would.

    Args:
        metric: of confusion matrices, shape (..., classes, classes), of which it gives (...).
        labels: class indices, shape (examples,).
        predictions: likewise.

    Source: Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapters 2 and 3.
    """
    counts = confusion(labels, predictions)
    whole = float(metric(counts))
    tested = np.flatnonzero(counts.sum(1))
    taken_for = np.array([_taken_for(counts, int(label), tested) for label in tested])
    cells = np.concatenate(
        [np.argwhere(counts), np.stack([tested, tested], axis=1), np.stack([tested, taken_for], axis=1)]
    )
    found = whole + (len(labels) - 1) * _moves(metric, counts, whole, cells)
    by_cell = np.zeros_like(counts)
    by_cell[tuple(cells.T)] = found
    values = by_cell[labels, predictions]
    values += whole - values.mean()

    swings = np.abs(by_cell[tested, tested] - by_cell[tested, taken_for])
    shares = counts.sum(1)[tested] / len(labels)
    mean = float((shares * swings).sum())
    if mean == 0:
        return Contributions(values, unit=1.0, largest=1.0)
    return Contributions(values, float((shares * swings**2).sum()) / mean, float(swings.max()))


def _taken_for(counts: Floats, label: int, tested: Classes) -> int:
    """The class that most of a label's wrong answers name; another one that occurs where there are none."""
    wrong = np.where(np.arange(len(counts)) == label, 0.0, counts[label])
    if wrong.any():
        return int(wrong.argmax())
    others = tested[tested != label]
    return int(others[0]) if len(others) else label


def _moves(metric: Callable[[Floats], Floats], counts: Floats, whole: float, cells: Classes) -> Floats:
    """How far one answer of each kind moves the metric: one that is there, or else one more; shape (cells,)."""
    moves = np.empty(len(cells))
    at_once = max(1, MOST_AT_ONCE // counts.size)
    for start in range(0, len(cells), at_once):
        rows, columns = cells[start : start + at_once].T
        step = np.where(counts[rows, columns] > 0, -1.0, 1.0)
        changed = np.repeat(counts[None], len(rows), 0)
        changed[np.arange(len(rows)), rows, columns] += step
        moves[start : start + at_once] = step * (metric(changed) - whole)
    return moves
