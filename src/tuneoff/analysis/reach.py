"""Whether a study could show at all that an arm loses no more than the margin, known before it trains."""

from __future__ import annotations

from typing import Any

from tuneoff.analysis.comparisons import in_points
from tuneoff.analysis.statistics import least_examples, least_margin


def margin_in_reach(margin: float, arms: int, seeds: int, test_examples: int) -> dict[str, Any]:
    """What the study's size lets it show, as plain JSON.

    Returns:
        `margin`; `least_test_examples` that could show a loss of it to be absent between arms that agree everywhere,
        and `least_margin` that these examples could show, both None for a single arm; `in_reach`; `sentence`, what to
        do where it is not, or else None.
    """
    found = {"margin": margin, "least_test_examples": None, "least_margin": None, "in_reach": False}
    if arms < 2:
        return found | {"sentence": "one arm has nothing to be compared with; add another to get a recommendation"}
    least, smallest = least_examples(margin, arms), least_margin(test_examples, arms)
    found |= {"least_test_examples": least, "least_margin": smallest, "in_reach": seeds > 1 and test_examples >= least}
    reasons = []
    if test_examples < least:
        reasons.append(
            f"{test_examples:,} test examples cannot show that one of {arms} arms loses less than {in_points(margin)}, "
            f"unless it is ahead: that takes at least {least:,}, or analysis.margin = "
            f"{_rounded_up(smallest):g} or more"
        )
    if seeds < 2:
        reasons.append("one seed never ranks methods: at least two are needed to show anything")
    return found | {"sentence": "; ".join(reasons) or None}


def _rounded_up(margin: float) -> float:
    """To a tenth of a point."""
    return -(-margin * 1000 // 1) / 1000
