"""What an objective is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.records.label_kind import LabelKind
from tuneoff.tasks.contributions import (
    Contributions,
    Floats,
    confusion,
    contributions_left_out,
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
        of: what it judges: answers, or the probabilities of all classes or labels.
        lowest: the worst value that it can have; None where there is no worst.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    kinds: ClassVar[tuple[LabelKind, ...]] = ("class",)
    of: ClassVar[Literal["answers", "probabilities"]] = "answers"
    lowest: ClassVar[float | None] = 0.0

    @classmethod
    def registered_name(cls) -> str | None:
        """Its name in a study file; None of a class that only others derive from."""
        return cls.__dict__.get("name")

    @classmethod
    def span(cls) -> float:
        """How far two values of it can be apart."""
        return math.inf if cls.lowest is None else 1 - cls.lowest

    @classmethod
    @abstractmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        """The metric of labels, as `Task.truth` gives them, and what `Task.judged` gives: answers or probabilities."""

    @classmethod
    @abstractmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        """What each example adds to the metric; their mean is its value."""

    @classmethod
    def unit_ahead(cls, labels: NDArray[Any], outputs: int) -> float:
        """`Contributions.unit` as labels alone let one expect it: where all are answered rightly.

        That of accuracy where they are too few to tell.

        Args:
            labels: as `Task.truth` gives them.
            outputs: how many classes or labels there are.
        """
        as_shares = cls.of == "probabilities" and labels.ndim == 1
        unit = cls.contributions(labels, np.eye(outputs)[labels] if as_shares else labels).unit
        return unit if math.isfinite(unit) else 1.0


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


class ProbabilityObjective(Objective):
    """A metric of probabilities: of one class an example, or of several labels."""

    kinds: ClassVar[tuple[LabelKind, ...]] = ("class", "labels")
    of: ClassVar[Literal["answers", "probabilities"]] = "probabilities"


class RankingObjective(ProbabilityObjective):
    """The mean over classes, or labels, of how well the examples that have one are ranked above the others.

    Of the classes that some test examples have and others do not. Classes are treated alike, also the two of a choice.
    """

    @classmethod
    @abstractmethod
    def of_one(cls, has: NDArray[np.bool_], chances: Floats) -> float:
        """The metric of one class: which examples have it, and its probabilities, shape (examples,)."""

    @classmethod
    @abstractmethod
    def without_each(cls, has: NDArray[np.bool_], chances: Floats) -> Floats:
        """The metric of one class without each of the examples, shape (examples,)."""

    @classmethod
    @abstractmethod
    def swings(cls, has: NDArray[np.bool_]) -> Floats:
        """How far each example moves the metric of one class where it comes in the middle, shape (examples,)."""

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        found = [cls.of_one(*one) for one in _one_by_one(np.asarray(labels), np.asarray(predictions, dtype=np.float64))]
        return float(np.mean(found)) if found else 0.0

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        classes = list(_one_by_one(labels, predictions.astype(np.float64)))
        if not classes:
            return Contributions(np.zeros(len(labels)), 1.0, 1.0)
        without = np.mean([cls.without_each(*one) for one in classes], axis=0)
        swings = len(labels) * np.mean([cls.swings(has) for has, _ in classes], axis=0)
        return contributions_left_out(cls.value(labels, predictions), without, swings)


def _one_by_one(labels: NDArray[Any], chances: Floats) -> Iterator[tuple[NDArray[np.bool_], Floats]]:
    """Which examples have a class, and its probabilities, for each class that some have and others do not."""
    for index in range(chances.shape[1]):
        has = labels == index if labels.ndim == 1 else labels[:, index] > 0
        if has.any() and not has.all():
            yield has, chances[:, index]
