"""How far a mean may be off whose variance has two parts, one known from few seeds and one from many examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

NODES = 256
RAREST = 1e-14
"""Of the quadrature over what the unknown spread between seeds may be: its nodes, and the tails that it leaves out."""
MOST_STEPS = 100
CLOSE = 1e-12
"""Of the search for a half-width: when it has failed, and the relative step at which it ends."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MeanError:
    """The errors of several means, each taken as sqrt(row) T + sqrt(column) Z, with T of Student's t and Z normal.

    Attributes:
        row: shape (means,); the part of each mean's variance that is known with `freedom` degrees of freedom.
        column: the part that is taken as known.
        freedom: infinite where the row part is taken as known too.

    Sources: Behrens 1929; Fisher 1935, The fiducial argument in statistical inference, Annals of Eugenics 6.
    """

    row: Floats
    column: Floats
    freedom: Floats

    def at(self, indices: NDArray[np.intp]) -> MeanError:
        """Some of them."""
        return MeanError(self.row[indices], self.column[indices], self.freedom[indices])

    @property
    def standard(self) -> Floats:
        """Standard errors."""
        return np.sqrt(self.row + self.column)

    def tail(self, distance: ArrayLike) -> Floats:
        """The probability of an error above each distance (one-sided); shape (means,), or (further, means)."""
        spreads, weights = self._mixture
        return (ndtr(-np.asarray(distance)[..., None] / spreads) * weights).sum(-1)

    def half_width(self, tail: float) -> Floats:
        """The distances that the errors exceed with probability `tail` (one-sided, below 0.5).

        Newton's method on both logarithmic scales, where the tail falls ever more steeply: from above it comes down to
        the answer without passing it. It begins where either part alone would have its own half-width.
        """
        assert 0 < tail < 0.5
        freedom = np.minimum(self.freedom, 1e9)
        start = np.sqrt(self.column) * -stdtrit(1e9, tail) + np.sqrt(self.row) * -stdtrit(freedom, tail)
        there = start > 0
        found = np.where(there, start, 1.0)
        spreads, weights = self._mixture
        for _ in range(MOST_STEPS):
            standing = found[:, None] / spreads
            above = (ndtr(-standing) * weights).sum(-1)
            density = (np.exp(-(standing**2) / 2) / spreads * weights).sum(-1) / np.sqrt(2 * np.pi)
            step = np.where(there, np.log(above / tail) * above / np.where(there, found * density, 1.0), 0.0)
            found = found * np.exp(step)
            if np.abs(step).max(initial=0.0) < CLOSE:
                return np.where(there, found, 0.0)
        raise AssertionError("the half-width of a mean was not found")

    @cached_property
    def _mixture(self) -> tuple[Floats, Floats]:
        """What the standard error may be and how likely that is, both of shape (means, NODES).

        The row part's variance is divided by a chi-squared variable over its degrees of freedom, whose logarithm u has
        a density in proportion to exp(freedom / 2 (u - exp u)), on an even grid.
        """
        reach = -2 * np.log(RAREST) / self.freedom  # bounds of chi-squared: Laurent and Massart 2000, lemma 1
        wide = reach + np.sqrt(2 * reach)
        steps = np.linspace(0.0, 1.0, NODES)
        low, high = -wide[:, None], np.log1p(wide)[:, None]
        logs = low + (high - low) * steps
        finite = np.where(np.isfinite(self.freedom), self.freedom, 0.0)[:, None]
        shares = np.exp(logs)
        weights = np.exp(finite / 2 * (logs - shares + 1))
        spreads = np.sqrt(self.row[:, None] / shares + self.column[:, None])
        return np.maximum(spreads, np.finfo(np.float64).tiny), weights / weights.sum(-1, keepdims=True)


def one(row: float, column: float, freedom: float) -> MeanError:
    """The error of a single mean."""
    return MeanError(*(np.array([value], dtype=np.float64) for value in (row, column, freedom)))


def squares_of(
    rows: NDArray[np.floating[Any]], columns: ArrayLike, cells: ArrayLike, examples: float
) -> tuple[Floats, Floats, Floats]:
    """The mean squares of seeds (rows), of examples (columns) and of the rest, of several tables at once.

    Args:
        rows: sums over each row, shape (tables, seeds).
        columns: the sum of the squares of the columns' sums, shape (tables,).
        cells: the sum of the squares of all values.
        examples: the number of columns, which a fraction of an example may be part of.
    """
    seeds = rows.shape[-1]
    centre = rows.sum(-1) ** 2 / (seeds * examples)
    between_rows = np.square(rows).sum(-1) / examples - centre
    between_columns = np.asarray(columns) / seeds - centre
    rest = np.asarray(cells) - centre - between_rows - between_columns
    nothing = np.zeros_like(centre)
    several, many = seeds > 1, examples > 1
    return (
        np.maximum(between_rows / (seeds - 1), 0.0) if several else nothing,
        np.maximum(between_columns / (examples - 1), 0.0) if many else nothing,
        np.maximum(rest / ((seeds - 1) * (examples - 1)), 0.0) if several and many else nothing,
    )
