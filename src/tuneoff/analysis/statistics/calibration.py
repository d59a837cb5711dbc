"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Whether a run's probabilities mean what they say: the expected calibration error and the Brier score."""

    error: float
    brier: float


def calibration_of(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> Calibration:
    """Of one class an example, or of several labels, each of which is then a choice of two.

    Args:
        labels: class indices, shape (examples,), or 0 or 1, shape (examples, labels).
        probabilities: shape (examples, classes) or (examples, labels).
    """
    if labels.ndim == 2:
        has = probabilities.ravel()
        labels, probabilities = labels.ravel(), np.stack([1 - has, has], axis=1)
    return Calibration(expected_calibration_error(labels, probabilities), brier_score(labels, probabilities))


def expected_calibration_error(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> float:
    """The mean distance between confidence and accuracy, over 15 bins of equal width weighted by their examples.

    Confidence is the highest class probability. Bins are open below and closed above.

    Args:
        labels: shape (examples,), class indices.
        probabilities: shape (examples, classes).

    Source: Guo et al. 2017, On calibration of modern neural networks, equation 3.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def brier_score(labels: NDArray[Any], probabilities: NDArray[np.float64]) -> float:
    """The mean squared distance between probabilities and what was true, summed over classes: 0 is best, 2 is worst.

    Args:
        labels: shape (examples,), class indices.
        probabilities: shape (examples, classes).

    Source: Brier 1950, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78.
    """
    truth = np.eye(probabilities.shape[1])[np.asarray(labels)]
    return float(np.square(probabilities - truth).sum(axis=1).mean())
