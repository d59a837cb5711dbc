"""What an objective is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.tasks.contributions import Contributions, confusion, contributions_of


class Objective(ABC):
    """A metric of predicted classes, the higher the better.

    A subclass of another package is found by an entry point of the group `tuneoff.tasks.objectives`.

    Attributes:
        name: what a study file calls it.
        label: what people call it, in the middle of a sentence.
        lowest: the worst value that it can have; the best is 1.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    lowest: ClassVar[float] = 0.0

    @classmethod
    def registered_name(cls) -> str | None:
        """Its name in a study file; None of a class that only others derive from."""
        return cls.__dict__.get("name")

    @classmethod
    @abstractmethod
    def of_counts(cls, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The metric of several confusion matrices at once, shape (...).

        It does not change when all counts of a matrix grow alike.

        Args:
            counts: examples by label and prediction, shape (..., classes, classes); they need not be whole.
        """

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        """The metric of class indices, each of shape (examples,)."""
        return float(cls.of_counts(confusion(np.asarray(labels), np.asarray(predictions))))

    @classmethod
    def contributions(cls, labels: NDArray[np.integer[Any]], predictions: NDArray[np.integer[Any]]) -> Contributions:
        """What each example adds to the metric; their mean is its value."""
        return contributions_of(cls.of_counts, labels, predictions)
