"""Cohen's kappa."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.tasks.contributions import of_each_class
from tuneoff.tasks.objectives.base import ClassObjective


class CohenKappa(ClassObjective):
    """Agreement of predictions with labels beyond that of chance; 0 for constant predictions (Cohen 1960)."""

    name: ClassVar[str] = "cohen_kappa"
    label: ClassVar[str] = "Cohen's kappa"
    lowest: ClassVar[float] = -1.0

    @classmethod
    def of_counts(cls, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        right, labels, predictions = (values / counts.sum((-2, -1))[..., None] for values in of_each_class(counts))
        by_chance = (labels * predictions).sum(-1)
        beyond = right.sum(-1) - by_chance
        return np.divide(beyond, 1 - by_chance, out=np.zeros_like(beyond), where=by_chance < 1)
