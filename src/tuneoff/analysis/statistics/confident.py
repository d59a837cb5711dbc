"""Confident learning: which labels several models call wrong, each by thresholds of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NONE = -1


def called_wrong(labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """The class that all models give each example instead of its label, or `NONE`.

    A model's threshold of a class is the mean probability that it gives this class where it is the label. All models
    have to give the label less than its threshold, and the same other class the highest probability, at or above the
    threshold of that class. A class that is no example's label has no threshold, and no model can say it.

    Args:
        labels: class indices, shape (examples,).
        probabilities: of models that have not seen the examples' labels, shape (models, examples, classes).

    Source: Northcutt, Jiang and Chuang 2021, Confident learning, JAIR 70 (thresholds; here of all models at once).
    """
    models, examples, classes = probabilities.shape
    thresholds = np.full((models, classes), np.inf)
    for label in np.unique(labels):
        thresholds[:, label] = probabilities[:, labels == label, label].mean(axis=1)
    rows = np.arange(examples)
    said = probabilities.argmax(axis=2)
    sure = np.take_along_axis(probabilities, said[:, :, None], axis=2)[:, :, 0] >= np.take_along_axis(
        thresholds, said, axis=1
    )
    against = probabilities[:, rows, labels] < thresholds[:, labels]
    agreed = (said == said[0]).all(axis=0) & (said[0] != labels)
    return np.where(agreed & sure.all(axis=0) & against.all(axis=0), said[0], NONE)
