"""Several questions at once, with one risk of error for all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from tuneoff.analysis.statistics.mean_error import Floats


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that the risk of any false positive stays at the level they are compared with.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    adjusted = step_down(p_values, np.arange(len(p_values), 0, -1))
    return [float(value) for value in adjusted]


def adjust_pairs(p_values: ArrayLike, arms: int) -> Floats:
    """As `holm`, for the hypotheses "these two are equal" of pairs of arms, of which not every set can be true at once.

    Where one pair of three arms differs, at most one of the other two pairs is equal; and so on.

    Args:
        p_values: one a pair; there may be fewer than all pairs.
        arms: how many there are.

    Source: Shaffer 1986, Modified sequentially rejective multiple test procedures, JASA 81 (method S1).
    """
    pairs = len(np.asarray(p_values))
    factors = [min(most, pairs - step) for step, most in enumerate(_most_equal_pairs(arms)[:pairs])]
    return step_down(p_values, np.array(factors))


def step_down(p_values: ArrayLike, factors: ArrayLike) -> Floats:
    """P-values times their factors, the smallest first, none smaller than the one before it.

    Args:
        p_values: shape (questions,), or (questions, families) to adjust each column for itself.
        factors: shape (questions,), in the order of ascending p-values.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, axis=0, kind="stable")
    steps = (np.take_along_axis(p_values, order, 0).T * np.asarray(factors)).T
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(steps, axis=0), 1.0), 0)
    return adjusted


@cache
def _most_equal_pairs(arms: int) -> list[int]:
    """How many pairs may be equal at most where 0, 1, 2 and so on are not."""
    pairs = arms * (arms - 1) // 2
    possible = sorted(_numbers_of_equal_pairs(arms))
    return [max(number for number in possible if number <= pairs - different) for different in range(pairs)]


@cache
def _numbers_of_equal_pairs(arms: int) -> frozenset[int]:
    """All numbers of equal pairs that there can be: arms fall into groups of equals."""
    if arms < 2:
        return frozenset({0})
    return frozenset(
        size * (size - 1) // 2 + rest for size in range(1, arms + 1) for rest in _numbers_of_equal_pairs(arms - size)
    )
