"""Two arms on the same seeds and test examples."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, permutation_test

from tuneoff.analysis.statistics.crossed import CrossedMean
from tuneoff.analysis.statistics.intervals import TAIL, Interval
from tuneoff.analysis.statistics.power import Needed, needed

ADDED = 1.0
"""One example that only the first arm gets right, and one that only the second does (Bonett and Price 2012)."""
ONE_SIDED = 0.05
MOST_FLIPS = 2**14
"""All ways to flip the signs of up to 14 seeds are gone through; of more seeds, this many are drawn."""


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of one arm minus that of another.

    Attributes:
        difference: its mean and 95% interval over seeds and examples together (over examples alone with one seed).
        p_value: two-sided, against no difference. With several seeds it is below 0.05 exactly where the interval
            leaves out 0. With one seed it is McNemar's exact test, a statement about two trained models only.
        crossed: mean and variances of the differences, two made-up examples included.
        by_seed: for each seed, on how many more examples the first arm was right.
    """

    difference: Interval
    p_value: float
    crossed: CrossedMean
    by_seed: tuple[float, ...]

    @property
    def seeds(self) -> int:
        """Seeds that both arms have."""
        return self.crossed.seeds

    @property
    def sign_flip_p_value(self) -> float | None:
        """Two-sided, from flipping the signs of the seeds' differences; None with one seed.

        It asks whether other seeds would differ on these very test examples, and says nothing of other examples.
        """
        return _sign_flip(np.array(self.by_seed)) if self.seeds > 1 else None

    def reversed(self) -> PairedDifference:
        """The second arm against the first."""
        seen = self.difference
        turned = Interval(-seen.mean, -seen.ci_high, -seen.ci_low, seen.covers_seeds)
        crossed = replace(self.crossed, mean=-self.crossed.mean)
        return replace(self, difference=turned, crossed=crossed, by_seed=tuple(-count for count in self.by_seed))

    def lower_bound(self, tail: float = ONE_SIDED) -> float:
        """The one-sided lower bound of the difference."""
        return max(-1.0, self.crossed.mean - self.crossed.half_width(tail))

    def needed_for_difference(self, tail: float = TAIL) -> Needed:
        """What would show that the arms differ, if the difference is as it was seen."""
        return needed(self.crossed, abs(self.crossed.mean), tail)

    def needed_for_non_inferiority(self, margin: float, tail: float = ONE_SIDED) -> Needed:
        """What would show that the first arm is not worse by `margin`, if the difference is as it was seen."""
        return needed(self.crossed, self.crossed.mean + margin, tail, least_examples(margin, tail))

    def non_inferiority_p_value(self, margin: float) -> float:
        """Against the hypothesis that the first arm is worse than the second by `margin` or more.

        With fewer test examples than it takes to see one loss at a rate of `margin`, nothing is shown however alike
        the arms are: the p-value is at least the chance of seeing no such loss.
        """
        return max(self.crossed.tail(self.crossed.mean + margin), (1 - margin) ** self.crossed.examples)


def paired_difference(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> PairedDifference:
    """Compares two arms, row by row and column by column.

    Args:
        first: shape (seeds, examples); 1 where a run was right, 0 where not.
        second: the same seeds and examples in the same order.

    Sources: `CrossedMean`; Bonett and Price 2012, Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data, Journal of Educational and Behavioral Statistics 37 (the made-up examples);
    McNemar 1947; Fisher 1935, The Design of Experiments (flipping signs).
    """
    assert first.shape == second.shape
    values = np.asarray(first, dtype=np.float64) - second
    crossed = CrossedMean.measure(values, ADDED, ends=(-1.0, 1.0))
    half = crossed.half_width(TAIL)
    several = len(values) > 1
    mean = float(values.mean())
    # The made-up examples draw the centre a little towards 0, and the mean must not be left outside.
    low, high = max(-1.0, min(mean, crossed.mean - half)), min(1.0, max(mean, crossed.mean + half))
    difference = Interval(mean, low, high, covers_seeds=several)
    p_value = min(1.0, 2 * crossed.tail(abs(crossed.mean))) if several else _mcnemar(values[0])
    return PairedDifference(difference, p_value, crossed, tuple(values.sum(axis=1).tolist()))


def least_examples(margin: float, tail: float = ONE_SIDED) -> int:
    """Test examples below which a loss of `margin` cannot be excluded, however alike two arms are."""
    return math.ceil(math.log(tail) / math.log1p(-margin))


def lowest_sign_flip_p_value(seeds: int) -> float:
    """What flipping signs cannot go below: all seeds agree in one of two directions, out of 2^seeds."""
    return float(2.0 ** (1 - seeds))


def _mcnemar(differences: NDArray[np.float64]) -> float:
    """Exact two-sided McNemar test on one run of each arm."""
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def _sign_flip(differences: NDArray[np.float64]) -> float:
    """Exact two-sided sign-flip test of the seeds' differences (drawn at random, always alike, from 15 seeds on)."""

    def absolute_mean(sample: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.abs(sample.mean(axis=axis))

    result = permutation_test(
        (differences,),
        absolute_mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=MOST_FLIPS,
        batch=MOST_FLIPS,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)
