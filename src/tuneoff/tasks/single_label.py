"""One class an example: how well it is predicted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The share of examples that are predicted right.

    Args:
        predictions: class indices, shape (examples,).
        labels: likewise.
    """
    return float((np.asarray(predictions) == np.asarray(labels)).mean())


def macro_f1(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The mean F1 of the classes that occur among the labels.

    A class that occurs in predictions alone is no class of its own: it would count for one arm and not for another. Its
    predictions count against the classes that they were wrong about.

    Args:
        predictions: class indices, shape (examples,).
        labels: likewise.
    """
    from sklearn.metrics import f1_score

    tested = np.unique(np.asarray(labels))
    return float(f1_score(labels, predictions, labels=tested, average="macro", zero_division=0.0))
