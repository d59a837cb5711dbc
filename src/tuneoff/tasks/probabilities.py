"""Probabilities of logits, without a library: what is served needs no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of classes, shape (examples, classes), from logits of the same shape.

    Differences of logits are taken first: those of bfloat16 are often equal, and such examples are to stay on a par in
    metrics that go by their order.
    """
    wide = np.asarray(logits, dtype=np.float64)
    exponents = np.exp((wide - wide.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def sigmoid(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """The probability of each label by itself, shape (examples, labels), from logits of the same shape."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64) / temperature))


def probabilities_at(log_odds: NDArray[np.float64]) -> tuple[float, ...]:
    """The probability of each of some log-odds, of which neither is 0 nor 1."""
    tiny = np.finfo(np.float64).eps
    return tuple(float(chance) for chance in np.clip(sigmoid(log_odds), tiny, 1 - tiny))


def log_odds_of(probabilities: Sequence[float]) -> NDArray[np.float64]:
    """The inverse of `probabilities_at`."""
    chances = np.asarray(probabilities, dtype=np.float64)
    return np.asarray(np.log(chances) - np.log1p(-chances))
