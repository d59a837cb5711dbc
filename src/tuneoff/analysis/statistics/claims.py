"""What may be claimed of the arms of a field, each claim wrong in at most 5% of studies, and what is likely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from scipy.stats import norm

from tuneoff.analysis.statistics.field import Field
from tuneoff.analysis.statistics.mean_error import Floats
from tuneoff.analysis.statistics.multiple import step_down

RISK = 0.05
"""Of a wrong claim: any wrong "better" among all pairs, a wrong "most accurate", any arm wrongly shown to be close."""
LIKELY = 0.2
"""As `RISK`, for an arm that is called likely to be close."""


def most_accurate(field: Field) -> int | None:
    """The arm that is shown to be more accurate than every other, if there is one.

    It is ahead of each other arm with an uncorrected p-value below 5%. Since at most one arm can be, the risk that a
    wrong one is does not grow with the number of arms.

    Source: Gutmann and Maymin 1987, Is the selected population the best?, Annals of Statistics 15.
    """
    ahead = (field.p_values < RISK) & (field.seeds > 1)
    wins = field.matrix(ahead & (field.centre > 0), ahead & (field.centre < 0), absent=0.0)
    found = np.flatnonzero(wins.sum(1) == field.arms - 1)
    return int(found[0]) if len(found) and field.arms > 1 else None


def inferiority_p_values(field: Field, margin: float) -> Floats:
    """P-values of "this arm loses `margin` of accuracy or more against that one", shape (arms, arms); 1 if unknown.

    Where arms agree nearly everywhere, few examples look as if nothing ever differed. So a p-value is never below that
    of a score test, which takes the rate of losses to be the margin: it shows nothing where the examples are too few,
    and does not matter for an arm that is clearly ahead.

    Source: Tango 1998, Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design, Statistics in Medicine 17 (a score test of paired proportions).
    """
    tails = field.error.tail(np.stack([margin + field.centre, margin - field.centre]))
    floors = score_p_value(np.stack([field.difference, -field.difference]), margin, field.examples, field.scale.unit)
    of_first, of_second = np.maximum(tails, floors)
    return field.matrix(of_first, of_second, absent=1.0)


def score_p_value(difference: ArrayLike, margin: float, examples: int, unit: float) -> Any:
    """The p-value of "it loses `margin` or more" by the score of a rate of losses: a number, or an array as given.

    A rate of losses of `margin / unit` loses the margin; where that is no rate, nothing is shown.
    """
    rate = margin / unit
    if rate >= 1:
        return np.ones(np.shape(difference)) if np.ndim(difference) else 1.0
    return ndtr(-(margin + np.asarray(difference)) / (unit * math.sqrt(rate * (1 - rate) / examples)))


def closeness_p_values(field: Field, margin: float, least_seeds: int = 1) -> Floats:
    """P-values of "this arm loses `margin` or more against the best, whichever that is", for all arms; shape (arms,).

    For each arm that may be the best, "this one loses the margin against it" is tested of all others with Holm's
    correction; an arm's p-value is the highest of these. So the risk that any is wrongly found close is that of one.

    Args:
        field: two arms or more.
        margin: accuracy that may be lost.
        least_seeds: pairs that share fewer say nothing.

    Sources: Berger 1982, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24
    (intersection-union tests); Hsu 1981, Simultaneous confidence intervals for all distances from the "best", Annals of
    Statistics 9.
    """
    enough = field.seeds >= least_seeds
    p_values = np.where(field.matrix(enough, enough, absent=0.0) > 0, inferiority_p_values(field, margin), 1.0)
    np.fill_diagonal(p_values, np.inf)  # comes last, where it counts for nothing
    adjusted = step_down(p_values, [*range(field.arms - 1, 0, -1), 1])
    np.fill_diagonal(adjusted, 0.0)
    return adjusted.max(1)


def shown(field: Field, margin: float) -> NDArray[np.bool_]:
    """Which arms are shown to lose less than `margin` against the best; the most accurate arm of all loses nothing."""
    passed = closeness_p_values(field, margin, least_seeds=2) < RISK
    best = most_accurate(field)
    if best is not None:
        passed[best] = True
    return passed


@dataclass(frozen=True)
class Choice:
    """The arm to take where one must be taken now.

    Attributes:
        arm: its index.
        likely: how many candidates are likely to lose less than the margin against the best arm; it is one of them
            where there are any.
        at_worst: the most that it loses against the best (95%); None where seeds are too few to say.
    """

    arm: int
    likely: int
    at_worst: float | None


def choose(field: Field, margin: float, candidates: Sequence[int]) -> Choice:
    """The first candidate that is likely to lose less than `margin` against every other arm, or else the likeliest.

    Args:
        field: at least two arms.
        margin: accuracy that may be lost.
        candidates: indices, the preferred ones first.
    """
    likely = closeness_p_values(field, margin) <= LIKELY
    found = [arm for arm in candidates if likely[arm]]
    p_values = inferiority_p_values(field, margin)
    np.fill_diagonal(p_values, 0.0)
    chosen = found[0] if found else min(candidates, key=lambda arm: p_values[arm].max())
    return Choice(chosen, len(found), at_worst(field, chosen))


def at_worst(field: Field, arm: int) -> float | None:
    """The most accuracy that an arm loses against the best of the others, with a risk of 5% for all of them together.

    As for `inferiority_p_values`, the score of the examples alone is a bound of its own. None where some arm is not
    compared with this one on two seeds or more.
    """
    here = np.flatnonzero((field.first == arm) | (field.second == arm))
    if len(here) < field.arms - 1 or (field.seeds[here] < 2).any():
        return None
    tail = RISK / (field.arms - 1)
    sign = np.where(field.first[here] == arm, -1.0, 1.0)
    by_score = most_by_score(sign * field.difference[here], field.examples, tail, field.scale.unit)
    by_error = sign * field.centre[here] + field.error.at(here).half_width(tail)
    return float(min(field.scale.span, max(0.0, by_score.max(), by_error.max())))


def most_by_score(loss: ArrayLike, examples: int, tail: float, unit: float) -> Any:
    """The loss that `score_p_value` leaves at `tail`, of losses as seen; of arms clearly ahead no bound, -inf.

    Source: Wilson 1927, Probable inference, JASA 22.
    """
    loss = np.asarray(loss, dtype=np.float64) / unit
    square = norm.isf(tail) ** 2 / examples
    middle = 2 * loss + square
    found = (middle + np.sqrt(np.maximum(0.0, middle**2 - 4 * (1 + square) * loss**2))) / (2 * (1 + square))
    return np.where(found >= 0, unit * found, -np.inf)


def least_examples(margin: float, arms: int = 2, unit: float = 1.0) -> int:
    """Test examples below which no loss of `margin` can be excluded, however alike so many arms are."""
    rate = min(margin / unit, 1.0)
    return math.ceil(norm.isf(RISK / (arms - 1)) ** 2 * (1 - rate) / rate)


def least_margin(examples: int, arms: int = 2, unit: float = 1.0) -> float:
    """The margin below which so many test examples cannot exclude a loss, however alike so many arms are."""
    square = float(norm.isf(RISK / (arms - 1))) ** 2
    return unit * square / (examples + square)
