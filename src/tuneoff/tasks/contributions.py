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


def of_each_label(truth: NDArray[Any], answers: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Likewise of sets of labels, 0 or 1, shape (examples, labels): each of shape (labels,)."""
    given, said = truth.astype(np.float64), answers.astype(np.float64)
    return (given * said).sum(0), given.sum(0), said.sum(0)


def f1_scores(right: Floats, labels: Floats, predictions: Floats) -> Floats:
    """F1 of each class, 0 where it neither occurs nor is predicted, shape (..., classes)."""
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


def contributions_of_sets(
    metric: Callable[[Floats, Floats, Floats], Floats], truth: NDArray[Any], answers: NDArray[Any]
) -> Contributions:
    """As `contributions_of`, of sets of labels: 0 or 1, shape (examples, labels).

    Being wrong, to tell how far an example moves the metric, is to answer none of its labels; and the most frequent one
    where it has none.

    Args:
        metric: of the three counts of `of_each_label`, each of shape (..., labels), of which it gives (...).
        truth: labels.
        answers: likewise.
    """
    given, said = truth.astype(np.float64), answers.astype(np.float64)
    examples = len(given)
    counts = of_each_label(given, said)
    whole = float(metric(*counts))
    own = (given * said, given, said)
    found = whole + (examples - 1) * (whole - metric(*(count - mine for count, mine in zip(counts, own, strict=True))))
    found += whole - found.mean()

    wrong = np.zeros_like(given)
    wrong[~given.any(axis=1), int(counts[1].argmax())] = 1.0
    rest = [count - mine for count, mine in zip(counts, own, strict=True)]
    if_right = metric(rest[0] + given, rest[1] + given, rest[2] + given)
    if_wrong = metric(rest[0], rest[1] + given, rest[2] + wrong)
    return Contributions(found, *_units(np.abs(examples * (if_right - if_wrong))))


def contributions_of_numbers(whole: float, without: Floats, truth: Floats) -> Contributions:
    """As `contributions_of`, of numbers.

    Being wrong, to tell how far an example moves the metric, is to answer the mean: by as much as the example is away
    from it, squared, in units of the variance.

    Args:
        whole: the metric.
        without: the metric without each of the examples, shape (examples,).
        truth: labels, or their ranks where the metric is of those.
    """
    away = np.square(truth - truth.mean())
    return contributions_left_out(whole, without, away / away.mean() if away.any() else np.ones_like(away))


def contributions_left_out(whole: float, without: Floats, swings: Floats) -> Contributions:
    """As `contributions_of`, of a metric that is known without each of the examples.

    Args:
        whole: the metric.
        without: the metric without each of the examples, shape (examples,).
        swings: how far each moves the metric by being right or wrong, times the number of examples, shape (examples,).
    """
    found = whole + (len(without) - 1) * (whole - without)
    found += whole - found.mean()
    return Contributions(found, *_units(swings))


def correlation_without(first: Floats, second: Floats, ranked: bool = False) -> tuple[float, Floats]:
    """The linear correlation of two arrays, and that without each of the examples; 0 where one of them is constant.

    Args:
        first: shape (examples,).
        second: likewise.
        ranked: whether both are ranks, which move down by one where an example below is left out (to first order:
            how far two ranks that both move change their product is a 1/examples of the rest).
    """
    count = len(first)
    a, b = first - first.mean(), second - second.mean()
    left = count / max(1, count - 1)
    together, of_first, of_second = (float(x @ y) - left * x * y for x, y in ((a, b), (a, a), (b, b)))
    if ranked:
        together -= _moved(a, b) + _moved(b, a)
        of_first -= 2 * _moved(a, a)
        of_second -= 2 * _moved(b, b)
    return float(_correlation(a @ b, a @ a, b @ b)), _correlation(together, of_first, of_second)


def _moved(ranks: Floats, other: Floats) -> Floats:
    """For each example the sum of `other`, whose mean is 0, over those of higher rank, and half of it over equals."""
    order = np.argsort(ranks, kind="stable")
    ascending = ranks[order]
    below = np.concatenate([[0.0], np.cumsum(other[order])])
    first, last = np.searchsorted(ascending, ranks, side="left"), np.searchsorted(ascending, ranks, side="right")
    return below[-1] - below[last] + (below[last] - below[first] - other) / 2


def _correlation(together: Any, of_first: Any, of_second: Any) -> Floats:
    spread = np.sqrt(np.maximum(of_first, 0.0) * np.maximum(of_second, 0.0))
    floor = 1e-12 * max(1.0, float(np.max(spread)))
    return np.divide(together, spread, out=np.zeros_like(spread), where=spread > floor)


def _units(swings: Floats) -> tuple[float, float]:
    """`Contributions.unit` and `largest`, by how far each example moves a metric."""
    mean = float(swings.mean())
    return (1.0, 1.0) if mean == 0 else (float(np.square(swings).mean()) / mean, float(swings.max()))
