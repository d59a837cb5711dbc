"""Pearson's correlation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.records.label_kind import LabelKind
from tuneoff.tasks.contributions import Contributions, contributions_of_numbers, correlation_without
from tuneoff.tasks.objectives.base import Objective


class Pearson(Objective):
    """The linear correlation of predictions with labels; 0 for constant predictions."""

    name: ClassVar[str] = "pearson"
    label: ClassVar[str] = "Pearson's correlation"
    kinds: ClassVar[tuple[LabelKind, ...]] = ("number",)
    lowest: ClassVar[float | None] = -1.0

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        truth, said = np.asarray(labels, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
        return correlation_without(truth, said)[0]

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        truth, said = labels.astype(np.float64), predictions.astype(np.float64)
        whole, without = correlation_without(truth, said)
        return contributions_of_numbers(whole, without, truth)
