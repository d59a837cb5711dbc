"""Average precision."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.tasks.contributions import Floats
from tuneoff.tasks.objectives.base import RankingObjective


class AveragePrecision(RankingObjective):
    """The mean precision at each example that has a class, in the order of its probabilities: the area under the curve.

    The mean over classes or labels, each against the rest; a class's share for constant probabilities. It is
    scikit-learn's `average_precision_score(average="macro")`, over both classes of a choice of two.
    """

    name: ClassVar[str] = "average_precision"
    label: ClassVar[str] = "average precision"

    @classmethod
    def of_one(cls, has: NDArray[np.bool_], chances: Floats) -> float:
        from sklearn.metrics import average_precision_score

        return float(average_precision_score(has, chances))

    @classmethod
    def without_each(cls, has: NDArray[np.bool_], chances: Floats) -> Floats:
        order = np.argsort(-chances, kind="stable")
        ranked, ordered = has[order], chances[order]
        last = np.append(ordered[1:] != ordered[:-1], True)
        ends = np.flatnonzero(last)  # of groups of equal probabilities, which are answered together
        group = np.concatenate([[0], np.cumsum(last)[:-1]])
        found = np.cumsum(ranked)[ends].astype(np.float64)  # those with the class, up to and with each group
        said = ends + 1.0
        own = np.diff(found, prepend=0.0)
        positive = found[-1]

        def from_here(terms: Floats) -> Floats:
            return np.cumsum(terms[::-1])[::-1]

        before = np.cumsum(own * found / said) - own * found / said
        fewer = np.maximum(said - 1, 1.0)
        after_negative = from_here(own * found / fewer)
        after_positive = from_here(own * (found - 1) / fewer) - (found - 1) / fewer  # one of its own group is gone
        without = np.where(
            ranked,
            (before[group] + after_positive[group]) / max(positive - 1, 1.0),
            (before[group] + after_negative[group]) / positive,
        )
        if positive == 1:  # without the only one there would be no such class; it is taken to tell nothing then
            without = np.where(ranked, cls.of_one(has, chances), without)
        unordered = np.empty_like(without)
        unordered[order] = without
        return unordered

    @classmethod
    def swings(cls, has: NDArray[np.bool_]) -> Floats:
        # There the precision of one that has the class is about the class's share. Another one changes little there.
        return np.where(has, (~has).mean() / has.sum(), 0.0)
