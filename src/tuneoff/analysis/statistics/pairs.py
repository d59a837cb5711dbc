"""Two arms on the same seeds and test examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test

from tuneoff.analysis.statistics.claims import RISK, most_by_score, score_p_value
from tuneoff.analysis.statistics.crossed import CrossedMean
from tuneoff.analysis.statistics.field import Field
from tuneoff.analysis.statistics.intervals import TAIL
from tuneoff.analysis.statistics.power import needed_for_difference, needed_for_non_inferiority
from tuneoff.analysis.statistics.scale import Scale
from tuneoff.records.comparison import NeededData
from tuneoff.records.interval import MeanInterval

MOST_FLIPS = 2**14
"""All ways to flip the signs of up to 14 seeds are gone through; of more seeds, this many are drawn."""


@dataclass(frozen=True)
class PairedDifference:
    """The metric of one arm minus that of another, as accuracy.

    Attributes:
        difference: its mean and 95% interval over seeds and examples together (over examples alone with one seed).
        p_value: two-sided, against no difference. With several seeds it is below 0.05 exactly where the interval
            leaves out 0. With one seed it is McNemar's exact test, a statement about two trained models only.
        crossed: mean and variances of the differences, two made-up examples included.
        scale: of the metric.
        by_seed: for each seed, on how many more examples the first arm was right.
    """

    difference: MeanInterval
    p_value: float
    crossed: CrossedMean
    scale: Scale
    by_seed: tuple[float, ...]

    @classmethod
    def of(cls, field: Field, pair: int, *, turned: bool = False) -> PairedDifference:
        """One pair of a field; `turned` for the second arm against the first."""
        crossed, mean = field.crossed(pair), float(field.difference[pair])
        sign = -1 if turned else 1
        crossed, mean = replace(crossed, mean=sign * crossed.mean), sign * mean
        half = crossed.half_width(TAIL)
        # The made-up examples draw the centre a little towards 0, and the mean must not be left outside.
        most = field.scale.span
        low, high = max(-most, min(mean, crossed.mean - half)), min(most, max(mean, crossed.mean + half))
        return cls(
            difference=MeanInterval(mean=mean, ci_low=low, ci_high=high, covers_seeds=crossed.seeds > 1),
            p_value=float(field.p_values[pair]),
            crossed=crossed,
            scale=field.scale,
            by_seed=tuple((sign * field.by_seed[pair]).tolist()),
        )

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

    def lower_bound(self, tail: float = RISK) -> float:
        """The one-sided lower bound of the difference: a margin below it is shown not to be lost."""
        by_score = -float(most_by_score(-self.difference.mean, self.crossed.examples, tail, self.scale.unit))
        return max(-self.scale.span, min(by_score, self.crossed.mean - self.crossed.half_width(tail)))

    def non_inferiority_p_value(self, margin: float) -> float:
        """Against the hypothesis that the first arm is worse than the second by `margin` or more."""
        by_error = self.crossed.tail(self.crossed.mean + margin)
        return max(by_error, float(score_p_value(self.difference.mean, margin, self.crossed.examples, self.scale.unit)))

    def needed_for_difference(self, tail: float = TAIL) -> NeededData:
        """What would show that the arms differ, if the difference is as it was seen."""
        return needed_for_difference(self.crossed, tail)

    def needed_for_non_inferiority(self, margin: float) -> NeededData:
        """What would show that the first arm is not worse by `margin`, if the difference is as it was seen."""
        return needed_for_non_inferiority(self.crossed, margin, self.scale.unit)


def paired_difference(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> PairedDifference:
    """Compares two arms alone.

    Args:
        first: shape (seeds, examples); 1 where a run was right, 0 where not.
        second: the same seeds and examples in the same order.
    """
    assert first.shape == second.shape
    return PairedDifference.of(Field.measure([first, second]), 0)


def lowest_sign_flip_p_value(seeds: int) -> float:
    """What flipping signs cannot go below: all seeds agree in one of two directions, out of 2^seeds."""
    return float(2.0 ** (1 - seeds))


def _sign_flip(differences: NDArray[np.float64]) -> float:
    """Exact two-sided sign-flip test of the seeds' differences (drawn at random, always alike, from 15 seeds on).

    Source: Fisher 1935, The Design of Experiments.
    """

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
