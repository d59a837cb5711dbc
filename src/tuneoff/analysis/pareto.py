"""For each cost, the arms that no other arm is shown to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuneoff.analysis.costs import COSTS, comparable, costs_no_more, ranked


def pareto_fronts(arms: Sequence[Mapping[str, Any]], comparisons: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By cost, the names of the arms on the front.

    An arm is off the front only where another is more accurate beyond the noise (verdict "better": corrected
    over all pairs) and costs at most as much; of times, where the other's slowest run took at most as long as this
    arm's fastest. Arms that are tied in accuracy stay on the front together, whatever they cost: a tie is not shown to
    be equality. A cost is left out where no arm has it, or where times cannot be compared; arms that lack it are left
    out of its front, and those whose latency is an unmerged adapter's where others have none (`ranked`).

    Args:
        arms: of the summary.
        comparisons: of the summary.
    """
    better = {(pair["a"], pair["b"]) for pair in comparisons if pair["verdict"] == "better"}
    fronts = {}
    for cost in COSTS:
        known = ranked(arms, cost)
        if known and comparable(known, cost):
            fronts[cost] = [
                arm["arm"]
                for arm in known
                if not any((other["arm"], arm["arm"]) in better and costs_no_more(other, arm, cost) for other in known)
            ]
    return fronts
