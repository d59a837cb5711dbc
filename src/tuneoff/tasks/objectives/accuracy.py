"""Accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.records.label_kind import LabelKind
from tuneoff.tasks.contributions import Contributions
from tuneoff.tasks.objectives.base import Objective


class Accuracy(Objective):
    """The share of examples that are predicted right; of several labels an example, all of them."""

    name: ClassVar[str] = "accuracy"
    label: ClassVar[str] = "accuracy"
    kinds: ClassVar[tuple[LabelKind, ...]] = ("class", "labels")

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        return float(_right(np.asarray(labels), np.asarray(predictions)).mean())

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        """1 where an example is predicted right, else 0: exactly so, for tests of proportions."""
        return Contributions(_right(labels, predictions).astype(np.float64), unit=1.0, largest=1.0)


def _right(labels: NDArray[Any], predictions: NDArray[Any]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = np.asarray(labels == predictions)
    return same if same.ndim == 1 else np.asarray(same.all(axis=1))
