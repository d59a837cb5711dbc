"""How much more data it would take to show what a study has seen but not shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scipy.stats import norm

from tuneoff.analysis.statistics.crossed import CrossedMean

POWER = 0.8
MOST_SEEDS = 100
MOST_EXAMPLES = 10_000_000
MOST_TIMES = 100


@dataclass(frozen=True)
class Needed:
    """What would show something at a chance of 80%, if the truth is what was seen.

    Attributes:
        seeds: in all, with the same test examples; None where more seeds alone do not help, or not within 100.
        test_examples: in all, with the same seeds, rounded up to two digits; None where more examples alone do not
            help.
        times: so many times the seeds and the test examples, both; None where that does not help, or not 100 times.
    """

    seeds: int | None
    test_examples: int | None
    times: int | None


def needed(crossed: CrossedMean, distance: float, tail: float, least_examples: int = 0) -> Needed:
    """How many seeds, or how many test examples, or how much more of both, would show a distance.

    A study is taken to show it where the distance is at least the half-width plus 0.84 standard errors, both as
    expected from the variances of seeds, examples and the rest that were seen. Since these are estimates, so is this.

    Args:
        crossed: the paired differences.
        distance: from what is to be excluded; where it is not above 0, nothing would help.
        tail: the one-sided level.
        least_examples: fewer test examples cannot show it, whatever they say.
    """
    if distance <= 0:
        return Needed(None, None, None)

    def shows(seeds: int, examples: int) -> bool:
        if examples < least_examples:
            return False
        future = crossed.resized(seeds, examples)
        return future.tail(distance - norm.ppf(POWER) * future.standard_error) <= tail

    lowest_seeds = max(2, crossed.seeds)
    seeds = _first(lowest_seeds, MOST_SEEDS, lambda count: shows(count, crossed.examples))
    examples = _first(crossed.examples, MOST_EXAMPLES, lambda count: shows(lowest_seeds, count))
    times = _first(1, MOST_TIMES, lambda count: shows(max(2, count * crossed.seeds), count * crossed.examples))
    return Needed(seeds, None if examples is None else _two_digits(examples), times)


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
