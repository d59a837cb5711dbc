"""How far the seeds of several arms spread, each known from few seeds and hence badly, and better together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuneoff.analysis.statistics.mean_error import Floats

PRIOR = 4.0
"""Degrees of freedom that the mean of all arms counts for beside an arm's own."""
NOTHING = 1e-12
"""A mean square below it comes from rounding."""


@dataclass(frozen=True)
class SeedSpread:
    """The spread between the seeds of each of several arms, raised where it is small by luck.

    With two or three seeds the runs of an arm may be alike by chance alone, and of many arms some nearly always are. So
    an arm's *dispersion*, its mean square of seeds in units of that of the rest, is drawn towards the mean of all arms,
    but never lowered: a spread that was seen is not explained away. Arms are alike in their dispersion rather than in
    their variance, which depends on how accurate they are.

    Attributes:
        variance: shape (arms,); in units of a mean square of seeds: of a seed's mean, times the examples.
        dispersion, rest: shape (arms,); as seen.
        freedom: shape (arms,); an arm's number of seeds less one.
        pooled: shape (arms,); whether an arm's dispersion is part of the mean.

    Sources: Smyth 2004, Linear models and empirical Bayes methods for assessing differential expression, Statistical
    Applications in Genetics and Molecular Biology 3 (moderation); quasi-likelihood (dispersion).
    """

    variance: Floats
    dispersion: Floats
    rest: Floats
    freedom: Floats
    pooled: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @classmethod
    def moderate(
        cls,
        of_seeds: Floats,
        of_rest: Floats,
        freedom: Floats,
        comparable: np.ndarray[tuple[int], np.dtype[np.bool_]],
    ) -> SeedSpread:
        """From each arm's mean squares.

        Args:
            of_seeds: shape (arms,).
            of_rest: shape (arms,).
            freedom: shape (arms,).
            comparable: shape (arms,); False for arms that say nothing of the others' seeds, such as one that has
                learned nothing. Nor do arms in which nothing is random, or with one seed.
        """
        random = of_rest > NOTHING
        dispersion = np.where(random, of_seeds / np.where(random, of_rest, 1.0), 0.0)
        pooled = comparable & random & (freedom > 0)
        mean = float(dispersion[pooled].mean()) if pooled.any() else 0.0
        drawn = np.maximum((PRIOR * mean + freedom * dispersion) / (PRIOR + freedom), dispersion)
        return cls(drawn * np.where(random, of_rest, 0.0), dispersion, of_rest, freedom, pooled)

    def freedom_of_pairs(
        self, first: np.ndarray[tuple[int], np.dtype[np.intp]], second: np.ndarray[tuple[int], np.dtype[np.intp]]
    ) -> Floats:
        """Degrees of freedom of the sum of two arms' variances, for several pairs of arms, shape (pairs,).

        The sum is one of all arms' dispersions, each with a weight, and gets the degrees of freedom of such a sum.

        Sources: Satterthwaite 1946, An approximate distribution of estimates of variance components, Biometrics 2;
        Welch 1947, The generalization of "Student's" problem, Biometrika 34.
        """
        prior = PRIOR / (PRIOR + self.freedom) * self.rest
        own = self.freedom / (PRIOR + self.freedom) * self.rest
        each = self.pooled / max(1, int(self.pooled.sum()))
        weights = (prior[first] + prior[second])[:, None] * each
        pairs = np.arange(len(first))
        weights[pairs, first] += own[first]
        weights[pairs, second] += own[second]
        shares = weights * self.dispersion
        squares = (np.square(shares) / np.maximum(self.freedom, 1.0)).sum(-1)
        return shares.sum(-1) ** 2 / np.maximum(squares, np.finfo(np.float64).tiny)
