"""How much more data it would take to show what a study has seen but not shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import norm

from tuneoff.analysis.statistics.claims import RISK, least_examples, shown
from tuneoff.analysis.statistics.crossed import CrossedMean
from tuneoff.analysis.statistics.field import Field
from tuneoff.records.comparison import NeededData

POWER = 0.8
MOST_SEEDS = 100
MOST_EXAMPLES = 10_000_000
MOST_TIMES = 100


def needed_to_show(field: Field, margin: float, candidates: Sequence[int]) -> NeededData:
    """What would show that one of these arms loses less than `margin` against the best: see `shown`.

    A study is taken to show it where it would still do so with all of an arm's differences 0.84 standard errors lower.
    Since the differences and their variances are estimates, so is this.

    Args:
        field: every two arms share two seeds or more.
        margin: accuracy that may be lost.
        candidates: indices of the arms.
    """

    def shows(seeds: int, examples: int) -> bool:
        future = field.resized(seeds, examples)
        return any(shown(_unlucky(future, arm), margin)[arm] for arm in candidates)

    return _search(shows, int(field.seeds.min()), field.examples)


def _unlucky(field: Field, arm: int) -> Field:
    """The field in a study in which this arm does worse than it should, as in one of five."""
    lower = norm.ppf(POWER) * field.error.standard
    sign = np.where(field.first == arm, -1.0, np.where(field.second == arm, 1.0, 0.0))
    return replace(field, difference=field.difference + sign * lower, centre=field.centre + sign * lower)


def needed_for_difference(crossed: CrossedMean, tail: float) -> NeededData:
    """What would show that two arms differ, if the difference is as it was seen; likewise.

    Args:
        crossed: the paired differences.
        tail: the one-sided level.
    """
    return _needed(crossed, abs(crossed.mean), tail)


def needed_for_non_inferiority(crossed: CrossedMean, margin: float, unit: float) -> NeededData:
    """What would show that the first of two arms does not lose `margin`, if the difference is as it was seen."""
    return _needed(crossed, crossed.mean + margin, RISK, least_examples(margin, unit=unit))


def _needed(crossed: CrossedMean, distance: float, tail: float, least: int = 0) -> NeededData:
    if distance <= 0:
        return NeededData(seeds=None, test_examples=None, times=None)

    def shows(seeds: int, examples: int) -> bool:
        if examples < least:
            return False
        future = crossed.resized(seeds, examples)
        return future.tail(distance - norm.ppf(POWER) * future.standard_error) <= tail

    return _search(shows, crossed.seeds, crossed.examples)


def _search(shows: Callable[[int, int], bool], seeds: int, examples: int) -> NeededData:
    """The least that shows something, from so many seeds and test examples on."""
    lowest = max(2, seeds)
    more_seeds = _first(lowest, MOST_SEEDS, lambda count: shows(count, examples))
    more_examples = _first(examples, MOST_EXAMPLES, lambda count: shows(lowest, count))
    times = _first(1, MOST_TIMES, lambda count: shows(max(2, count * seeds), count * examples))
    examples_in_all = None if more_examples is None else _two_digits(more_examples)
    return NeededData(seeds=more_seeds, test_examples=examples_in_all, times=times)


def _two_digits(count: int) -> int:
    """A count rounded up to two significant digits."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return -(-count // unit) * unit


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The lowest number for which a condition holds that stays true once it is; None where there is none."""
    if low > high or not holds(high):
        return None
    if holds(low):
        return low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
