"""The share of the variance that is explained."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.records.label_kind import LabelKind
from tuneoff.tasks.contributions import Contributions, contributions_of_numbers
from tuneoff.tasks.objectives.base import Objective


class R2(Objective):
    """1 less the squared errors in units of those of the mean: 1 is exact, 0 no better than the mean of these labels.

    It orders models as the root mean squared error does, in units that are the same for all data.
    """

    name: ClassVar[str] = "r2"
    label: ClassVar[str] = "R²"
    kinds: ClassVar[tuple[LabelKind, ...]] = ("number",)
    lowest: ClassVar[float | None] = None

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        truth, said = np.asarray(labels, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
        spread = float(np.square(truth - truth.mean()).sum())
        return 1 - float(np.square(truth - said).sum()) / spread if spread else 0.0

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        truth, said = labels.astype(np.float64), predictions.astype(np.float64)
        count = len(truth)
        errors, spreads = np.square(truth - said), np.square(truth - truth.mean())
        if not spreads.any():
            return Contributions(np.zeros(count), 1.0, 1.0)
        without = 1 - (errors.sum() - errors) / np.maximum(spreads.sum() - spreads * count / (count - 1), 1e-300)
        return contributions_of_numbers(cls.value(truth, said), without, truth)
