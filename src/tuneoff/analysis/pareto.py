"""For each cost, the arms that no other arm is shown to beat."""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.analysis.costs import COSTS, costs_no_more, not_comparable, ranked
from tuneoff.records.arm_summary import ArmSummary
from tuneoff.records.comparison import Comparison


def pareto_fronts(arms: Sequence[ArmSummary], comparisons: Sequence[Comparison]) -> dict[str, tuple[str, ...]]:
    """By cost, the names of the arms on the front; none of them is an arm that did not learn.

    An arm that learned is off the front only where another is more accurate beyond the noise (verdict "better":
    corrected over all pairs) and costs at most as much; of times, where the other's slowest run took at most as long as
    this arm's fastest. Arms that are not told apart stay on the front together, whatever they cost: they are not shown
    to be equal. A cost is left out where no such arm has it, or where it was measured of them under different
    conditions; arms that lack it are left out of its front, and those whose latency is an unmerged adapter's where
    others have none (`ranked`).

    Args:
        arms: of the summary.
        comparisons: of the summary.
    """
    better = {(pair.a, pair.b) for pair in comparisons if pair.verdict == "better"}
    fronts = {}
    for cost in COSTS:
        known = ranked([arm for arm in arms if arm.learned], cost)
        if known and not_comparable(known, cost) is None:
            fronts[cost] = tuple(
                arm.arm
                for arm in known
                if not any((other.arm, arm.arm) in better and costs_no_more(other, arm, cost) for other in known)
            )
    return fronts
