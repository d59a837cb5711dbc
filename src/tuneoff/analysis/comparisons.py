"""Every pair of a study's arms, on the seeds and test examples that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tuneoff.analysis.statistics import (
    OF_ACCURACY,
    RISK,
    Field,
    PairedDifference,
    Scale,
    adjust_pairs,
    lowest_sign_flip_p_value,
    most_accurate,
)
from tuneoff.analysis.wording import ACCURACY
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.comparison import (
    Comparison,
    Needed,
    NonInferiority,
    NonInferiorityOfBoth,
    PairVerdict,
    Variances,
)
from tuneoff.records.interval import MeanInterval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def in_points(margin: float) -> str:
    """A margin of a metric as people say it: a point is a hundredth."""
    return "1 point" if margin == 0.01 else f"{100 * margin:g} points"


@dataclass(frozen=True)
class ComparedArms:
    """Arms by their names, with all that their pairs show by a metric; `learned` are those that learned their data."""

    names: tuple[str, ...]
    field: Field
    learned: frozenset[str]
    metric: str

    def among(self, names: Sequence[str]) -> ComparedArms:
        """These alone."""
        kept = [name for name in self.names if name in names]
        return replace(self, names=tuple(kept), field=self.field.among([self.names.index(name) for name in kept]))


def compare_arms(
    arms: Sequence[ArmSummary],
    tables: Mapping[str, NDArray[np.float64]],
    scale: Scale = OF_ACCURACY,
    metric: str = ACCURACY,
) -> ComparedArms | None:
    """Compares the arms that have results, the best first; None where there are none.

    Args:
        arms: of the summary.
        tables: by arm, what each example adds to the metric, shape (seeds, examples), rows in the order of the arm's
            `seeds`.
        scale: of the metric.
        metric: what people call it.
    """
    scored = sorted((arm for arm in arms if isinstance(arm, ScoredArm)), key=lambda arm: -arm.test_score.mean)
    if not scored:
        return None
    learned = frozenset(arm.arm for arm in scored if arm.learned)
    field = Field.measure(
        [tables[arm.arm] for arm in scored],
        [arm.seeds for arm in scored],
        # An arm that has learned nothing says nothing of how far the seeds of others spread.
        comparable=[arm.arm in learned for arm in scored],
        scale=scale,
    )
    return ComparedArms(tuple(arm.arm for arm in scored), field, learned, metric)


def compare_pairs(compared: ComparedArms | None, margin: float) -> tuple[Comparison, ...]:
    """What is said of each pair of arms that share a seed.

    The first of a pair is the one of higher mean on the seeds that both have.
    """
    if compared is None:
        return ()
    field = compared.field
    adjusted = adjust_pairs(field.p_values, field.arms)
    first = most_accurate(field)
    best = None if first is None else compared.names[first]
    pairs = []
    for pair, p_value in enumerate(adjusted):
        arms, turned = (int(field.first[pair]), int(field.second[pair])), bool(field.difference[pair] < 0)
        a, b = reversed(arms) if turned else arms
        seen, other = (PairedDifference.of(field, pair, turned=way) for way in (turned, not turned))
        names = (compared.names[a], compared.names[b])
        idle = tuple(name for name in names if name not in compared.learned)
        pairs.append(_compared(names, seen, other, float(p_value), len(adjusted), margin, best, idle, compared.metric))
    return tuple(pairs)


def pair_verdict(p_value: float, p_adjusted: float, seen: MeanInterval, margin: float) -> PairVerdict:
    """What a comparison of two arms that learned shows.

    Returns:
        `unranked`: one seed. `better`: the first is more accurate. `not shown`: its interval leaves out 0, but it is
        one of several comparisons, and with a risk of 5% for all of them nothing is shown. `tie`: the interval holds 0
        and lies inside the margin on both sides. `not told apart`: it holds 0, and reaches beyond the margin.
    """
    if not seen.covers_seeds:
        return "unranked"
    if p_value < RISK:
        return "better" if p_adjusted < RISK else "not shown"
    return "tie" if -margin < seen.ci_low and seen.ci_high < margin else "not told apart"


def _compared(
    names: tuple[str, str],
    seen: PairedDifference,
    other: PairedDifference,
    p_adjusted: float,
    pairs: int,
    margin: float,
    best: str | None,
    not_learned: tuple[str, ...],
    metric: str,
) -> Comparison:
    several = seen.seeds > 1
    shown = pair_verdict(seen.p_value, p_adjusted, seen.difference, margin)
    non_inferiority = (
        NonInferiorityOfBoth(margin=margin, a=_non_inferior(seen, margin), b=_non_inferior(other, margin))
        if several
        else None
    )
    needed = non_inferiority and Needed(
        difference=None if shown == "better" else seen.needed_for_difference(RISK / 2 / pairs),
        non_inferiority_of_b=None if non_inferiority.b.shown else other.needed_for_non_inferiority(margin),
    )
    variances = Variances(
        seeds=seen.crossed.seed_variance,
        examples=seen.crossed.example_variance,
        residual=seen.crossed.residual_variance,
    )
    return Comparison(
        a=names[0],
        b=names[1],
        metric=metric,
        a_is_most_accurate=names[0] == best,
        seeds=seen.seeds,
        test_examples=seen.crossed.examples,
        difference=seen.difference,
        test="crossed" if several or metric != ACCURACY else "mcnemar",
        p_value=seen.p_value,
        p_adjusted=p_adjusted,
        adjusted_for=pairs,
        p_sign_flip=seen.sign_flip_p_value,
        lowest_p_sign_flip=lowest_sign_flip_p_value(seen.seeds) if several else None,
        verdict="not learned" if not_learned else shown,
        variances=variances if several else None,
        non_inferiority=non_inferiority,
        needed=needed,
        not_learned=not_learned,
    )


def _non_inferior(difference: PairedDifference, margin: float) -> NonInferiority:
    p_value = difference.non_inferiority_p_value(margin)
    return NonInferiority(lower_bound=difference.lower_bound(), p_value=p_value, shown=p_value < RISK)
