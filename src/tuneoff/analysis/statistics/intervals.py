"""The interval of an arm's accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import binomtest

from tuneoff.analysis.statistics.crossed import CrossedMean
from tuneoff.records.interval import MeanInterval

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
ADDED = 0.5
"""Half an example that is right and half one that is wrong (Haldane 1956, Anscombe 1956)."""


def mean_interval(values: NDArray[np.floating[Any]], lowest: float | None = 0.0, largest: float = 1.0) -> MeanInterval:
    """The 95% interval of an accuracy, or another metric, over seeds and test examples together, inside of its range.

    It is computed on the scale of log odds, where accuracies near 1 have errors that are about symmetric; for a
    correlation that is Fisher's z. With one seed it covers the examples alone; for an accuracy it is Wilson's then.

    Args:
        values: shape (seeds, examples); what each example adds to the metric: to accuracy 1 where a run was right, 0
            where not.
        lowest: that the metric can be; the highest is 1. None where it has no lowest value: then it is the
            logarithm of what is missing to 1 that has symmetric errors.
        largest: how far one example moves the metric, times their number (`Contributions`).

    Sources: `CrossedMean`; Wilson 1927, Probable inference, JASA 22; Fisher 1921, On the probable error of a
    coefficient of correlation, Metron 1.
    """
    seeds, examples = values.shape
    mean = float(values.mean(dtype=np.float64))
    if seeds == 1 and np.isin(values, (0.0, 1.0)).all():
        wilson = binomtest(round(mean * examples), examples).proportion_ci(CONFIDENCE, method="wilson")
        return MeanInterval(mean=mean, ci_low=float(wilson.low), ci_high=float(wilson.high), covers_seeds=False)
    if lowest is None:
        crossed = CrossedMean.measure(values, ADDED, (1 - largest, 1.0))
        short = 1 - crossed.mean
        times = float(np.exp(crossed.half_width(TAIL) / short))
        low, high = 1 - short * times, 1 - short / times
        return MeanInterval(mean=mean, ci_low=min(low, mean), ci_high=max(high, mean), covers_seeds=seeds > 1)
    span = 1 - lowest
    ends = (0.5 - largest / span / 2, 0.5 + largest / span / 2)
    crossed = CrossedMean.measure((values - lowest) / span, ADDED, ends)
    half = crossed.half_width(TAIL) / (crossed.mean * (1 - crossed.mean))
    low, high = (lowest + span * float(expit(logit(crossed.mean) + side * half)) for side in (-1, 1))
    # The centre lies a little inside of the mean, which matters where every value is 0 or every value is 1.
    return MeanInterval(mean=mean, ci_low=min(low, mean), ci_high=max(high, mean), covers_seeds=seeds > 1)
