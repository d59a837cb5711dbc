"""Uncertainty of accuracies and of their differences, over seeds and test examples together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95% interval."""

    mean: float
    ci_low: float
    ci_high: float


def bootstrap_interval(values: NDArray[np.float64], seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean over two levels: seeds (rows) and test examples (columns).

    Each draw resamples rows and columns independently and with replacement, so that an interval covers both the
    luck of training and the choice of test examples.

    Args:
        values: shape (seeds, examples); 0/1 correctness, or differences of it between two arms.
        seed: of the resampling.

    Source: Davison and Hinkley 1997, Bootstrap Methods and Their Application, section 3.8 (nested resampling).
    """
    seeds, examples = values.shape
    draw = np.random.default_rng(seed)
    row_weights = draw.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds
    column_weights = draw.multinomial(examples, np.full(examples, 1 / examples), size=DRAWS) / examples
    means = np.einsum("ds,se,de->d", row_weights, values, column_weights, optimize=True)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))
