"""The share of the mean absolute error that is explained."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.records.label_kind import LabelKind
from tuneoff.tasks.contributions import Contributions, contributions_left_out
from tuneoff.tasks.objectives.base import Objective


class D2AbsoluteError(Objective):
    """1 less the absolute errors in units of the median's: 1 is exact, 0 no better than the median of the labels.

    It orders models as the mean absolute error does (`d2_absolute_error_score` of scikit-learn), in units that are the
    same for all data.
    """

    name: ClassVar[str] = "d2_absolute_error"
    label: ClassVar[str] = "explained absolute error"
    kinds: ClassVar[tuple[LabelKind, ...]] = ("number",)
    lowest: ClassVar[float | None] = None

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        truth, said = np.asarray(labels, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
        spread = float(np.abs(truth - np.median(truth)).sum())
        return 1 - float(np.abs(truth - said).sum()) / spread if spread else 0.0

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        truth, said = labels.astype(np.float64), predictions.astype(np.float64)
        errors, spreads = np.abs(truth - said), np.abs(truth - np.median(truth))
        if not spreads.any():
            return Contributions(np.zeros(len(truth)), 1.0, 1.0)
        # Between two examples in the middle the median moves without changing the sum of distances to first order.
        without = 1 - (errors.sum() - errors) / np.maximum(spreads.sum() - spreads, 1e-300)
        return contributions_left_out(cls.value(truth, said), without, spreads / spreads.mean())
