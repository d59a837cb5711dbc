"""F1, weighted by class."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.tasks.contributions import f1_scores, of_each_class
from tuneoff.tasks.objectives.base import Objective


class WeightedF1(Objective):
    """The mean F1 of the classes, each with its share of the labels."""

    name: ClassVar[str] = "weighted_f1"
    label: ClassVar[str] = "weighted F1"

    @classmethod
    def of_counts(cls, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        _, labels, _ = of_each_class(counts)
        return (f1_scores(counts) * labels).sum(-1) / labels.sum(-1)
