"""What an objective is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.records.label_kind import LabelKind
from tuneoff.tasks.contributions import (
    Contributions,
    Floats,
    confusion,
    contributions_of,
    contributions_of_sets,
    of_each_class,
    of_each_label,
)


class Objective(ABC):
    """A metric of answers, the higher the better, whose best value is 1.

    A subclass of another package is found by an entry point of the group `tuneoff.tasks.objectives`. One of predicted
    classes derives from `ClassObjective`, and has to say no more than its value.

    Attributes:
        name: what a study file calls it.
        label: what people call it, in the middle of a sentence.
        kinds: of labels that it is for.
        lowest: the worst value that it can have; None where there is no worst.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    kinds: ClassVar[tuple[LabelKind, ...]] = ("class",)
    lowest: ClassVar[float | None] = 0.0

    @classmethod
    def registered_name(cls) -> str | None:
        """Its name in a study file; None of a class that only others derive from."""
        return cls.__dict__.get("name")

    @classmethod
    @abstractmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        """The metric of answers, both as `Task.truth` and `Task.answers` give them."""

    @classmethod
    @abstractmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        """What each example adds to the metric; their mean is its value."""


class ClassObjective(Objective):
    """A metric of predicted classes."""

    @classmethod
    @abstractmethod
    def of_counts(cls, counts: Floats) -> Floats:
        """The metric of several confusion matrices at once, shape (...).

        It does not change when all counts of a matrix grow alike.

        Args:
            counts: examples by label and prediction, shape (..., classes, classes); they need not be whole.
        """

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        return float(cls.of_counts(confusion(np.asarray(labels), np.asarray(predictions))))

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        return contributions_of(cls.of_counts, labels, predictions)


class LabelObjective(ClassObjective):
    """A metric of how often each label is right, given and answered: of one class an example, or of several labels."""

    kinds: ClassVar[tuple[LabelKind, ...]] = ("class", "labels")

    @classmethod
    @abstractmethod
    def of_labels(cls, right: Floats, labels: Floats, predictions: Floats) -> Floats:
        """The metric, shape (...).

        Args:
            right: examples by label that have it and are said to, shape (..., labels).
            labels: those that have it.
            predictions: those that are said to.
        """

    @classmethod
    def of_counts(cls, counts: Floats) -> Floats:
        return cls.of_labels(*of_each_class(counts))

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        truth = np.asarray(labels)
        if truth.ndim == 1:
            return super().value(labels, predictions)
        return float(cls.of_labels(*of_each_label(truth, np.asarray(predictions))))

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        if labels.ndim == 1:
            return super().contributions(labels, predictions)
        return contributions_of_sets(cls.of_labels, labels, predictions)
