"""The mean over seeds and test examples, crossed, and how far it may be from what other seeds and examples give."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi2, norm, t

NODES = 256
RAREST = 1e-14
"""Of the quadrature over what the unknown spread between seeds may be: its nodes, and the tails that it leaves out."""
FURTHEST = 4.0
"""Times the sum of both parts' own half-widths: where the search for a half-width ends."""


@dataclass(frozen=True)
class CrossedMean:
    """A mean over seeds (rows) and examples (columns), both drawn at random, with the variance of each origin.

    The model is y[s, e] = mean + a[s] + b[e] + c[s, e]. The variance of the mean has two parts: that of the rows' means
    (a and c), known from few seeds and hence badly, and that of the examples (b), known from many examples.

    Attributes:
        mean: of all values, those added by `measure` included.
        seeds, examples: numbers of rows and of columns.
        seed_variance, example_variance, residual_variance: of a, b and c, estimated by the mean squares of a two-way
            analysis of variance, negative ones set to 0. With one seed all is put down to the examples.
        row_part, column_part: the two parts of the variance of the mean.

    Sources: Searle, Casella and McCulloch 1992, Variance Components, chapter 4 (estimates); Behrens 1929 and
    Fisher 1935 (a mean whose variance has two parts, each estimated): the row part's error is taken as Student's t
    with `seeds - 1` degrees of freedom, the column part's as normal.
    """

    mean: float
    seeds: int
    examples: int
    seed_variance: float
    example_variance: float
    residual_variance: float
    row_part: float
    column_part: float

    @classmethod
    def measure(cls, values: NDArray[np.floating[Any]], added: float, ends: tuple[float, float]) -> CrossedMean:
        """Estimates mean and variances.

        Args:
            values: shape (seeds, examples), within `ends`.
            added: how many examples are added at each end (the same value with every seed), which keeps the variance
                away from 0 where nothing has varied yet; may be a fraction.
            ends: the lowest and the highest value that is possible.
        """
        seeds, real = values.shape
        assert seeds > 0
        assert real > 0
        low, high = ends
        examples = real + 2 * added
        rows = values.sum(axis=1, dtype=np.float64) + added * (low + high)
        columns = values.sum(axis=0, dtype=np.float64)
        squares = float(np.square(values, dtype=np.float64).sum()) + added * seeds * (low**2 + high**2)
        column_squares = float(np.square(columns).sum()) + added * seeds**2 * (low**2 + high**2)
        total = float(rows.sum())
        cells = seeds * examples
        centre = total**2 / cells
        between_rows = float(np.square(rows).sum()) / examples - centre
        between_columns = column_squares / seeds - centre
        column_square = between_columns / (examples - 1) if examples > 1 else 0.0
        row_square = between_rows / (seeds - 1) if seeds > 1 else 0.0
        rest = squares - centre - between_rows - between_columns
        rest_square = max(0.0, rest / ((seeds - 1) * (examples - 1))) if seeds > 1 and examples > 1 else 0.0
        row_square, column_square = max(0.0, row_square), max(0.0, column_square)
        return cls(
            mean=total / cells,
            seeds=seeds,
            examples=real,
            seed_variance=max(0.0, row_square - rest_square) / examples,
            example_variance=max(0.0, column_square - rest_square) / seeds,
            residual_variance=rest_square,
            row_part=row_square / cells,
            # Never less than the rest alone would give, also where rows and columns vary less than by chance.
            column_part=max(0.0, column_square - rest_square, rest_square - row_square) / cells,
        )

    def resized(self, seeds: int, examples: int) -> CrossedMean:
        """What a study with other numbers of seeds and examples would show, by the variances seen in this one."""
        return CrossedMean(
            mean=self.mean,
            seeds=seeds,
            examples=examples,
            seed_variance=self.seed_variance,
            example_variance=self.example_variance,
            residual_variance=self.residual_variance,
            row_part=self.seed_variance / seeds + self.residual_variance / (seeds * examples),
            column_part=self.example_variance / examples,
        )

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return float(np.sqrt(self.row_part + self.column_part))

    def tail(self, distance: float) -> float:
        """The probability of an error of the mean above `distance` (one-sided)."""
        if self.row_part == 0 or self.seeds < 2:
            return float(norm.sf(distance / self.standard_error)) if self.standard_error else float(distance <= 0) / 2
        shares, weights = _spreads(self.seeds - 1)
        spread = np.sqrt(self.row_part / shares + self.column_part)
        return float(weights @ ndtr(-distance / spread))

    def half_width(self, tail: float) -> float:
        """The distance that the error of the mean exceeds with probability `tail` (one-sided, below 0.5)."""
        assert 0 < tail < 0.5
        if self.standard_error == 0:
            return 0.0
        own = np.sqrt(self.column_part) * norm.isf(tail)
        if self.seeds > 1:
            own += np.sqrt(self.row_part) * t.isf(tail, self.seeds - 1)
        return float(brentq(lambda distance: self.tail(distance) - tail, 0.0, FURTHEST * own, xtol=1e-10))


@lru_cache
def _spreads(freedom: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quadrature over a chi-squared variable divided by its degrees of freedom: nodes and weights."""
    low, high = np.log([chi2.ppf(RAREST, freedom), chi2.isf(RAREST, freedom)])
    shares = np.exp(np.linspace(low, high, NODES))
    weights = chi2.pdf(shares, freedom) * shares  # the density of the logarithm, on an even grid
    return shares / freedom, weights / weights.sum()
