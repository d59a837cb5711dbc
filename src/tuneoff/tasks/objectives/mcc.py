"""Matthews' correlation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.tasks.contributions import of_each_class
from tuneoff.tasks.objectives.base import ClassObjective


class Mcc(ClassObjective):
    """The correlation of predictions with labels, for any number of classes; 0 for constant predictions.

    Source: Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient, Computational
    Biology and Chemistry 28.
    """

    name: ClassVar[str] = "mcc"
    label: ClassVar[str] = "MCC"
    lowest: ClassVar[float] = -1.0

    @classmethod
    def of_counts(cls, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        right, labels, predictions = (values / counts.sum((-2, -1))[..., None] for values in of_each_class(counts))
        together = right.sum(-1) - (labels * predictions).sum(-1)
        spread = np.sqrt((1 - (labels**2).sum(-1)) * (1 - (predictions**2).sum(-1)))
        return np.divide(together, spread, out=np.zeros_like(together), where=spread > 0)
