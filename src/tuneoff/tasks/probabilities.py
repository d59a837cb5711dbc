"""Probabilities of logits, without a library: what is served needs no more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities of classes, shape (examples, classes), from logits of the same shape."""
    wide = np.asarray(logits, dtype=np.float64)
    exponents = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def sigmoid(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The probability of each label by itself, shape (examples, labels), from logits of the same shape."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64)))
