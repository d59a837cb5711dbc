"""Macro F1."""

from __future__ import annotations

from typing import ClassVar

from tuneoff.tasks.contributions import Floats, f1_scores, over_classes
from tuneoff.tasks.objectives.base import LabelObjective


class MacroF1(LabelObjective):
    """The mean F1 of the classes, or labels, that occur among the labels.

    A class that occurs in predictions alone is no class of its own: it would count for one arm and not for another. Its
    predictions count against the classes that they were wrong about.
    """

    name: ClassVar[str] = "macro_f1"
    label: ClassVar[str] = "macro F1"

    @classmethod
    def of_labels(cls, right: Floats, labels: Floats, predictions: Floats) -> Floats:
        return over_classes(f1_scores(right, labels, predictions), labels > 0)
