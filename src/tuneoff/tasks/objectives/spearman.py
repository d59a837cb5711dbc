"""Spearman's correlation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.records.label_kind import LabelKind
from tuneoff.tasks.contributions import Contributions, Floats, contributions_of_numbers, correlation_without
from tuneoff.tasks.objectives.base import Objective


class Spearman(Objective):
    """The correlation of the ranks of predictions with those of labels; 0 for constant predictions.

    It asks whether texts come in the right order, whatever the scale.
    """

    name: ClassVar[str] = "spearman"
    label: ClassVar[str] = "Spearman's correlation"
    kinds: ClassVar[tuple[LabelKind, ...]] = ("number",)
    lowest: ClassVar[float | None] = -1.0

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        return correlation_without(_ranks(np.asarray(labels)), _ranks(np.asarray(predictions)))[0]

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        """As of Pearson's correlation of the ranks, with what leaving an example out does to the ranks of the others.

        Source: the derivative of the functional; Croux and Dehon 2010, Influence functions of the Spearman and Kendall
        correlation measures, Statistical Methods and Applications 19.
        """
        truth, said = _ranks(labels), _ranks(predictions)
        whole, without = correlation_without(truth, said, ranked=True)
        return contributions_of_numbers(whole, without, truth)


def _ranks(values: NDArray[Any]) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)
