"""Macro F1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.tasks.contributions import f1_scores, of_each_class, over_classes
from tuneoff.tasks.objectives.base import Objective


class MacroF1(Objective):
    """The mean F1 of the classes that occur among the labels.

    A class that occurs in predictions alone is no class of its own: it would count for one arm and not for another. Its
    predictions count against the classes that they were wrong about.
    """

    name: ClassVar[str] = "macro_f1"
    label: ClassVar[str] = "macro F1"

    @classmethod
    def of_counts(cls, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        _, labels, _ = of_each_class(counts)
        return over_classes(f1_scores(counts), labels > 0)
