"""Micro F1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tuneoff.records.label_kind import LabelKind
from tuneoff.tasks.contributions import Floats
from tuneoff.tasks.objectives.base import LabelObjective


class MicroF1(LabelObjective):
    """F1 of all labels of all examples together; of one class an example it would be the accuracy."""

    name: ClassVar[str] = "micro_f1"
    label: ClassVar[str] = "micro F1"
    kinds: ClassVar[tuple[LabelKind, ...]] = ("labels",)

    @classmethod
    def of_labels(cls, right: Floats, labels: Floats, predictions: Floats) -> Floats:
        both = labels.sum(-1) + predictions.sum(-1)
        return np.divide(2 * right.sum(-1), both, out=np.zeros_like(both), where=both > 0)
