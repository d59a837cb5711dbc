"""The area under the ROC curve."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.tasks.contributions import Floats
from tuneoff.tasks.objectives.base import RankingObjective


class Auroc(RankingObjective):
    """How often an example that has a class gets a higher probability of it than one that has not; ties count half.

    The mean over classes or labels, each against the rest; 1/2 for constant probabilities. It is scikit-learn's
    `roc_auc_score(average="macro", multi_class="ovr")`.

    Source: Hanley and McNeil 1982, The meaning and use of the area under a receiver operating characteristic curve.
    """

    name: ClassVar[str] = "auroc"
    label: ClassVar[str] = "AUROC"

    @classmethod
    def of_one(cls, has: NDArray[np.bool_], chances: Floats) -> float:
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(has, chances))

    @classmethod
    def without_each(cls, has: NDArray[np.bool_], chances: Floats) -> Floats:
        from scipy.stats import rankdata

        ranks, of_kind = rankdata(chances), np.zeros(len(has))
        of_kind[has], of_kind[~has] = rankdata(chances[has]), rankdata(chances[~has])
        positive, negative = int(has.sum()), int((~has).sum())
        below = ranks - of_kind  # of the other kind; ties count half
        right = np.where(has, below / negative, 1 - below / positive)
        whole = float(right[has].mean())
        own = np.where(has, positive, negative)
        # Without the only example of a kind nothing could be ranked; it is taken to tell nothing then.
        return np.where(own > 1, (own * whole - right) / np.maximum(own - 1, 1), whole)

    @classmethod
    def swings(cls, has: NDArray[np.bool_]) -> Floats:
        return np.where(has, 0.5 / has.sum(), 0.5 / (~has).sum())
