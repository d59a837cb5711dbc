"""A learning curve fitted to a few training sizes, and what it says of a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import chi2

from tuneoff.analysis.statistics.crossed import CrossedMean
from tuneoff.analysis.statistics.intervals import ADDED, TAIL
from tuneoff.analysis.statistics.mean_error import Floats
from tuneoff.analysis.statistics.spread import SeedSpread

FEWEST_SIZES = 3
"""Two points fix no curve of three unknowns."""
STEEPEST = 1.5
"""Of the exponents that are held possible, from 0 on, where each doubling takes off as much as the one before."""
CELLS = 40
"""Of the grid over each of two unknowns."""
OFF = 0.015
"""How far an error is off such a curve at the largest size: a standard deviation, as a share of the error. It is as
much more for each doubling on the way to another size."""
MISFIT = 0.01
"""The p-value below which accuracies follow no such curve."""
LITTLE = 0.5
"""Of the width that an interval would have without any data: one that is wider than that was not found by the data."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Extrapolated:
    """What a curve says of a larger training set.

    Attributes:
        accuracy: there.
        gain: on the largest size that was measured.
    """

    accuracy: Estimate
    gain: Estimate


class UnknowableError(Exception):
    """What a larger training set would bring cannot be told from these sizes; the message says why."""


def extrapolate(tables: Sequence[NDArray[np.floating[Any]]], sizes: Sequence[int], later: int) -> Extrapolated:
    """The accuracy to expect of another training size.

    The error at n examples is taken as a + b n^-c, with b at least 0, and off by a little of itself. What a, b and c
    are is not known: each curve of a grid counts by how well it fits the errors that were measured, given how far these
    may be off (seeds of each size by themselves, test examples in common), so that intervals cover seeds, test examples
    and the curve. The grid is even in c, and in what the last doubling took off as a share of what it left.

    Args:
        tables: by size, which test examples runs got right: 0 or 1, shape (seeds, examples); of the same examples.
        sizes: ascending.
        later: the other size.

    Raises:
        UnknowableError: from one seed or fewer than three sizes, or where the accuracies follow no such curve or say
            little of it.

    Sources: Cortes et al. 1993, Learning curves: asymptotic values and rate of convergence, NIPS 6; Hestness et al.
    2017, arXiv:1712.00409; Viering and Loog 2023, The shape of learning curves, TPAMI 45.
    """
    if len(sizes) < FEWEST_SIZES:
        raise UnknowableError(
            f"that takes {FEWEST_SIZES} training sizes at which it learned, and there are {len(sizes)}"
        )
    if min(len(table) for table in tables) < 2:
        raise UnknowableError("one seed does not say how far another would be off")
    errors = np.array([1 - table.mean() for table in tables])
    ratios = np.array([*sizes, later]) / sizes[-1]
    off = (OFF * (1 + np.abs(np.log2(ratios))) * np.append(errors, errors[-1])) ** 2
    at_last, at_later = off[-2], off[-1]
    inverse = np.linalg.inv(_noise(tables) + np.diag(off[:-1]))

    curves = _curves(ratios)
    ends, curves = curves[:, -1], curves[:, :-1]
    weighted = curves @ inverse
    variance = 1 / (weighted * curves).sum(axis=1)
    last = variance * (weighted @ errors)  # the error at the largest size, by each curve
    misfit = errors @ inverse @ errors - last**2 / variance
    if chi2.sf(misfit.min(), len(sizes) - 1) < MISFIT:
        raise UnknowableError("its accuracy does not grow with the training examples as such curves do")
    likely = np.sqrt(variance) * np.exp(-(misfit - misfit.min()) / 2)
    likely /= likely.sum()

    error = _estimate(likely, ends * last, np.sqrt(ends**2 * variance + at_later))
    # How far the error at the largest size is off its curve is partly known, since that error was measured.
    slope = 1 - ends - at_last * weighted[:, -1]
    unknown = at_later + at_last - at_last**2 * inverse[-1, -1]
    means = slope * last + at_last * (inverse @ errors)[-1]
    gain = _estimate(likely, means, np.sqrt(slope**2 * variance + unknown))
    before = np.quantile(1 - ends, [TAIL, 1 - TAIL]) * errors[-1]
    if gain.high - gain.low > LITTLE * (before[1] - before[0]):
        raise UnknowableError("its accuracies say too little of how it grows")
    return Extrapolated(Estimate(1 - error.mean, max(0.0, 1 - error.high), min(1.0, 1 - error.low)), gain)


def _curves(ratios: Floats) -> Floats:
    """All curves, each as likely as others, with the error at the largest size for a unit; shape (curves, ratios).

    Args:
        ratios: sizes, with the largest one that was measured for a unit.
    """
    middles = (np.arange(CELLS) + 0.5) / CELLS
    taken, exponent = (values.reshape(-1, 1) for values in np.meshgrid(middles, STEEPEST * middles))
    return 1 + taken * (ratios**-exponent - 1) / (2**exponent - 1)


def _noise(tables: Sequence[NDArray[np.floating[Any]]]) -> Floats:
    """How far the accuracies may be off, as a covariance: by seeds of each size, and by test examples in common.

    The spread of seeds is moderated over sizes as elsewhere over arms, and widened for its few degrees of freedom.
    """
    means = [CrossedMean.measure(table, ADDED, ends=(0.0, 1.0)) for table in tables]
    cells = np.array([len(table) * (table.shape[1] + 2 * ADDED) for table in tables])
    seeds = SeedSpread.moderate(
        np.array([mean.row_part for mean in means]) * cells,
        np.array([mean.residual_variance for mean in means]),
        np.array([mean.freedom for mean in means]),
        np.full(len(tables), True),
    )
    wider = (stdtrit(seeds.freedom.sum(), TAIL) / ndtri(TAIL)) ** 2
    shared = np.cov([table.mean(axis=0) for table in tables]) / tables[0].shape[1]
    np.fill_diagonal(shared, [mean.column_part for mean in means])
    values, vectors = np.linalg.eigh(shared)  # estimates need not fit each other
    return (vectors * np.maximum(values, 0.0)) @ vectors.T + np.diag(wider * seeds.variance / cells)


def _estimate(likely: Floats, means: Floats, deviations: Floats) -> Estimate:
    """Mean and interval of a mixture of normal distributions."""
    low, high = (means - 9 * deviations).min(), (means + 9 * deviations).max()

    def quantile(share: float) -> float:
        return float(brentq(lambda value: float(likely @ ndtr((value - means) / deviations)) - share, low, high))

    return Estimate(float(likely @ means), quantile(TAIL), quantile(1 - TAIL))
