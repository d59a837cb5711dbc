"""The probabilities from which labels are answered, chosen on validation for the objective.

Half of a chance is the best place to cut for accuracy, and for nothing else: F1 of a rare label is highest well below.
To take the cut that did best on the labels of a validation split chases the luck of the few that are rare. So a
probability is fitted to those labels first, a slope and an offset for each output, and the cut is where the objective
is the highest that these probabilities promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats, Floats], Floats]
"""Of how many examples have a label and are said to, have it, and are said to, each of shape (..., labels)."""

SWEEPS = 3
"""Through all labels: the best cut of one hangs on those of the others where the objective is of all together."""
MOST_CUTS, FEWEST_CUTS = 200, 20
"""That are tried of one label."""
COMPARED = 20_000
"""Cuts that are tried of all labels together, which decides how many are of one."""


def choose_cuts(metric: Metric, log_odds: Floats, truth: NDArray[Any]) -> Floats:
    """The log-odds above which each label is to be answered, shape (labels,).

    Args:
        metric: the objective.
        log_odds: what a model says of the validation split, calibrated, shape (examples, labels).
        truth: 0 or 1, of the same shape.

    Source: Lewis 1995, Evaluating and optimizing autonomous text classification systems; Ye et al. 2012, Optimizing
    F-measures: a tale of two approaches (the approach that plugs in probabilities).
    """
    chances, halves = _fitted(log_odds, truth.astype(np.float64))
    labels = chances.sum(axis=0)
    tried = [
        _Cuts.of(log_odds[:, label], chances[:, label], halves[label], len(labels)) for label in range(len(labels))
    ]
    places = _same_for_all(metric, tried, labels)
    right = np.array([one.right[place] for one, place in zip(tried, places, strict=True)])
    said = np.array([one.said[place] for one, place in zip(tried, places, strict=True)])
    for _ in range(SWEEPS):
        before = places.copy()
        for label, one in enumerate(tried):
            rights, saids = np.tile(right, (len(one.cuts), 1)), np.tile(said, (len(one.cuts), 1))
            rights[:, label], saids[:, label] = one.right, one.said
            place = _best(metric(rights, np.broadcast_to(labels, rights.shape), saids), places[label])
            places[label], right[label], said[label] = place, one.right[place], one.said[place]
        if (places == before).all():
            break
    return np.array([one.cuts[place] for one, place in zip(tried, places, strict=True)])


def of_two_classes(metric: Callable[[Floats], Floats], examples: int) -> Metric:
    """A metric of confusion matrices of two classes as one of whether the second is answered.

    Args:
        metric: of counts by label and prediction, shape (..., 2, 2), of which it gives (...).
        examples: in all.
    """

    def of_second(right: Floats, labels: Floats, predictions: Floats) -> Floats:
        others = examples - labels - predictions + right
        counts = np.concatenate([others, predictions - right, labels - right, right], axis=-1)
        return metric(counts.reshape(*counts.shape[:-1], 2, 2))

    return of_second


class _Cuts:
    """The cuts that are tried of one label, ascending, and what each promises.

    Attributes:
        cuts: log-odds.
        right: examples that have the label and are said to, as the probabilities promise.
        said: examples that are said to.
        chances: the lowest probability that is answered.
    """

    def __init__(self, cuts: Floats, right: Floats, said: Floats, chances: Floats) -> None:
        self.cuts = cuts
        self.right = right
        self.said = said
        self.chances = chances

    @classmethod
    def of(cls, log_odds: Floats, chances: Floats, half: float, labels: int) -> _Cuts:
        """Between the examples' log-odds, evenly spread over them, and where the probability is a half."""
        order = np.argsort(log_odds, kind="stable")
        ascending = log_odds[order]
        between = (ascending[1:] + ascending[:-1]) / 2
        between = between[(ascending[1:] > between) & (between >= ascending[:-1])]
        most = int(np.clip(COMPARED // labels, FEWEST_CUTS, MOST_CUTS))
        if len(between) > most:
            between = between[np.linspace(0, len(between) - 1, most).astype(int)]
        cuts = np.unique(np.append(between, half))
        places = np.searchsorted(ascending, cuts, side="right")
        above = np.append(np.cumsum(chances[order][::-1])[::-1], 0.0)
        lowest = np.append(chances[order], 1.0)
        return cls(cuts, above[places], len(log_odds) - places.astype(np.float64), lowest[places])


def _same_for_all(metric: Metric, tried: list[_Cuts], labels: Floats) -> NDArray[np.intp]:
    """Where the sweeps begin: the cuts at one probability for all labels, the best of several."""
    levels = np.append(0.5, np.linspace(0.05, 0.95, 19))
    places = np.array([[np.searchsorted(one.chances, level) for one in tried] for level in levels])
    places = np.minimum(places, [len(one.cuts) - 1 for one in tried])
    right = np.array([[one.right[place] for one, place in zip(tried, row, strict=True)] for row in places])
    said = np.array([[one.said[place] for one, place in zip(tried, row, strict=True)] for row in places])
    return places[_best(metric(right, np.broadcast_to(labels, right.shape), said), 0)]


def _best(values: Floats, now: int) -> int:
    """The place of the highest value; where it is now, unless another is higher."""
    best = int(values.argmax())
    return best if values[best] > values[now] + 1e-12 else now


def _fitted(log_odds: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Probabilities of each label, and the log-odds at which each is a half.

    A slope and an offset for each label by maximum likelihood, with a prior of one standard deviation around 1 and 0:
    a label that hardly occurs leaves them there.

    Source: Platt 1999, Probabilistic outputs for support vector machines.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    labels = log_odds.shape[1]

    def unlikely(both: Floats) -> tuple[float, Floats]:
        slopes, offsets = both[:labels], both[labels:]
        scaled = slopes * log_odds + offsets
        error = expit(scaled) - truth
        loss = (np.logaddexp(0, scaled) - truth * scaled).sum() + ((slopes - 1) ** 2 + offsets**2).sum() / 2
        return float(loss), np.concatenate([(error * log_odds).sum(0) + slopes - 1, error.sum(0) + offsets])

    start = np.concatenate([np.ones(labels), np.zeros(labels)])
    found = minimize(unlikely, start, jac=True, method="L-BFGS-B").x
    slopes, offsets = np.maximum(found[:labels], 1e-3), found[labels:]  # answers never turn round
    return expit(slopes * log_odds + offsets), -offsets / slopes
