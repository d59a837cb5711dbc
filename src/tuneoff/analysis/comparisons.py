"""Every pair of a study's arms, on the seeds and test examples that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.analysis.statistics import PairedDifference, holm, lowest_sign_flip_p_value, paired_difference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RISK = 0.05
"""Of any wrong "better" among all pairs of a study, and of a wrong "not inferior" for one pair."""


def in_points(margin: float) -> str:
    """A margin of accuracy as people say it."""
    return "1 point" if margin == 0.01 else f"{100 * margin:g} points"


@dataclass(frozen=True)
class Pair:
    """Two arms and the accuracy of the first minus that of the second."""

    first: str
    second: str
    difference: PairedDifference

    def of(self, arm: str) -> PairedDifference:
        """This arm against the other."""
        return self.difference if arm == self.first else self.difference.reversed()

    def other(self, arm: str) -> str:
        """The arm that this one is compared with."""
        return self.second if arm == self.first else self.first


def pair_arms(arms: Sequence[Mapping[str, Any]], correct: Mapping[str, NDArray[np.float64]]) -> list[Pair]:
    """Every pair of arms that share a seed; the first of a pair has the higher mean.

    Args:
        arms: of the summary; those without runs are left out.
        correct: by arm, shape (seeds, examples), rows in the order of the arm's `seeds`.
    """
    scored = sorted((arm for arm in arms if arm["runs"]), key=lambda arm: -arm["test_accuracy"]["mean"])
    pairs = []
    for index, first in enumerate(scored):
        for second in scored[index + 1 :]:
            shared = [seed for seed in first["seeds"] if seed in second["seeds"]]
            if shared:
                of_first, of_second = (
                    correct[arm["arm"]][[arm["seeds"].index(seed) for seed in shared]] for arm in (first, second)
                )
                pairs.append(Pair(first["arm"], second["arm"], paired_difference(of_first, of_second)))
    return pairs


def compare_pairs(pairs: Sequence[Pair], margin: float) -> list[dict[str, Any]]:
    """What is said of each pair, as plain JSON: see `summary.json`'s `comparisons`."""
    adjusted = holm([pair.difference.p_value for pair in pairs])
    return [_compared(pair, p_holm, margin, len(pairs)) for pair, p_holm in zip(pairs, adjusted, strict=True)]


def _compared(pair: Pair, p_holm: float, margin: float, pairs: int) -> dict[str, Any]:
    seen = pair.difference
    several = seen.seeds > 1
    verdict = "unranked" if not several else "better" if p_holm < RISK and seen.difference.mean > 0 else "tie"
    compared: dict[str, Any] = {
        "a": pair.first,
        "b": pair.second,
        "seeds": seen.seeds,
        "test_examples": seen.crossed.examples,
        "difference": asdict(seen.difference),
        "test": "crossed" if several else "mcnemar",
        "p_value": seen.p_value,
        "p_holm": p_holm,
        "p_sign_flip": seen.sign_flip_p_value,
        "lowest_p_sign_flip": lowest_sign_flip_p_value(seen.seeds) if several else None,
        "verdict": verdict,
        "variances": None,
        "non_inferiority": None,
        "needed": None,
    }
    if not several:
        return compared
    non_inferiority = {
        side: _non_inferior(pair.of(arm), margin) for side, arm in (("a", pair.first), ("b", pair.second))
    }
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
            else asdict(pair.of(pair.second).needed_for_non_inferiority(margin)),
        },
    }


def _non_inferior(difference: PairedDifference, margin: float) -> dict[str, Any]:
    p_value = difference.non_inferiority_p_value(margin)
    return {"lower_bound": difference.lower_bound(), "p_value": p_value, "shown": p_value < RISK}
