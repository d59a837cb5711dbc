"""F1, weighted by class."""

from __future__ import annotations

from typing import ClassVar

from tuneoff.tasks.contributions import Floats, f1_scores
from tuneoff.tasks.objectives.base import LabelObjective


class WeightedF1(LabelObjective):
    """The mean F1 of the classes, each with its share of the labels."""

    name: ClassVar[str] = "weighted_f1"
    label: ClassVar[str] = "weighted F1"

    @classmethod
    def of_labels(cls, right: Floats, labels: Floats, predictions: Floats) -> Floats:
        return (f1_scores(right, labels, predictions) * labels).sum(-1) / labels.sum(-1)
