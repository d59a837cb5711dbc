"""Every pair of a study's arms, on the seeds and test examples that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tuneoff.analysis.fitness import has_learned
from tuneoff.analysis.statistics import (
    RISK,
    Field,
    Interval,
    PairedDifference,
    adjust_pairs,
    lowest_sign_flip_p_value,
    most_accurate,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def in_points(margin: float) -> str:
    """A margin of accuracy as people say it."""
    return "1 point" if margin == 0.01 else f"{100 * margin:g} points"


@dataclass(frozen=True)
class ComparedArms:
    """Arms by their names, with all that their pairs show; `learned` are those that learned their training data."""

    names: tuple[str, ...]
    field: Field
    learned: frozenset[str]

    def among(self, names: Sequence[str]) -> ComparedArms:
        """These alone."""
        kept = [name for name in self.names if name in names]
        return replace(self, names=tuple(kept), field=self.field.among([self.names.index(name) for name in kept]))


def compare_arms(arms: Sequence[Mapping[str, Any]], correct: Mapping[str, NDArray[np.float64]]) -> ComparedArms | None:
    """Compares the arms that have results, those of higher mean accuracy first; None where there are none.

    Args:
        arms: of the summary.
        correct: by arm, shape (seeds, examples), rows in the order of the arm's `seeds`.
    """
    scored = sorted((arm for arm in arms if arm["runs"]), key=lambda arm: -arm["test_accuracy"]["mean"])
    if not scored:
        return None
    learned = frozenset(arm["arm"] for arm in scored if has_learned(arm))
    field = Field.measure(
        [correct[arm["arm"]] for arm in scored],
        [arm["seeds"] for arm in scored],
        # An arm that has learned nothing says nothing of how far the seeds of others spread.
        comparable=[arm["arm"] in learned for arm in scored],
    )
    return ComparedArms(tuple(arm["arm"] for arm in scored), field, learned)


def compare_pairs(compared: ComparedArms | None, margin: float) -> list[dict[str, Any]]:
    """What is said of each pair of arms that share a seed, as plain JSON: see `summary.json`'s `comparisons`.

    The first of a pair is the one of higher mean on the seeds that both have.
    """
    if compared is None:
        return []
    field = compared.field
    adjusted = adjust_pairs(field.p_values, field.arms)
    best = most_accurate(field)
    pairs = []
    for pair, p_value in enumerate(adjusted):
        places, turned = (int(field.first[pair]), int(field.second[pair])), bool(field.difference[pair] < 0)
        a, b = reversed(places) if turned else places
        seen, other = (PairedDifference.of(field, pair, turned=way) for way in (turned, not turned))
        found = {"a": compared.names[a], "b": compared.names[b], "a_is_most_accurate": bool(a == best)}
        idle = [name for name in (found["a"], found["b"]) if name not in compared.learned]
        found |= _compared(seen, other, float(p_value), margin, len(adjusted)) | {"not_learned": idle}
        pairs.append(found | {"verdict": "not learned"} if idle else found)
    return pairs


def pair_verdict(p_value: float, p_adjusted: float, seen: Interval, margin: float) -> str:
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
    seen: PairedDifference, other: PairedDifference, p_adjusted: float, margin: float, pairs: int
) -> dict[str, Any]:
    several = seen.seeds > 1
    verdict = pair_verdict(seen.p_value, p_adjusted, seen.difference, margin)
    compared: dict[str, Any] = {
        "seeds": seen.seeds,
        "test_examples": seen.crossed.examples,
        "difference": asdict(seen.difference),
        "test": "crossed" if several else "mcnemar",
        "p_value": seen.p_value,
        "p_adjusted": p_adjusted,
        "adjusted_for": pairs,
        "p_sign_flip": seen.sign_flip_p_value,
        "lowest_p_sign_flip": lowest_sign_flip_p_value(seen.seeds) if several else None,
        "verdict": verdict,
        "variances": None,
        "non_inferiority": None,
        "needed": None,
    }
    if not several:
        return compared
    non_inferiority = {side: _non_inferior(difference, margin) for side, difference in (("a", seen), ("b", other))}
    return compared | {
        "variances": {
            "seeds": seen.crossed.seed_variance,
            "examples": seen.crossed.example_variance,
            "residual": seen.crossed.residual_variance,
        },
        "non_inferiority": {"margin": margin, **non_inferiority},
        "needed": {
            "difference": None if verdict == "better" else asdict(seen.needed_for_difference(RISK / 2 / pairs)),
            "non_inferiority_of_b": None
            if non_inferiority["b"]["shown"]
            else asdict(other.needed_for_non_inferiority(margin)),
        },
    }


def _non_inferior(difference: PairedDifference, margin: float) -> dict[str, Any]:
    p_value = difference.non_inferiority_p_value(margin)
    return {"lower_bound": difference.lower_bound(), "p_value": p_value, "shown": p_value < RISK}
