"""Balanced accuracy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.tasks.contributions import of_each_class, over_classes
from tuneoff.tasks.objectives.base import ClassObjective


class BalancedAccuracy(ClassObjective):
    """The mean recall of the classes that occur among the labels (Brodersen et al. 2010)."""

    name: ClassVar[str] = "balanced_accuracy"
    label: ClassVar[str] = "balanced accuracy"

    @classmethod
    def of_counts(cls, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        right, labels, _ = of_each_class(counts)
        return over_classes(np.divide(right, labels, out=np.zeros_like(right), where=labels > 0), labels > 0)
