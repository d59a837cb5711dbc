"""Accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.tasks.contributions import Contributions
from tuneoff.tasks.objectives.base import Objective


class Accuracy(Objective):
    """The share of examples that are predicted right."""

    name: ClassVar[str] = "accuracy"
    label: ClassVar[str] = "accuracy"

    @classmethod
    def of_counts(cls, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1))

    @classmethod
    def contributions(cls, labels: NDArray[np.integer[Any]], predictions: NDArray[np.integer[Any]]) -> Contributions:
        """1 where an example is predicted right, else 0: exactly so, for tests of proportions."""
        return Contributions((labels == predictions).astype(np.float64), unit=1.0, largest=1.0)
