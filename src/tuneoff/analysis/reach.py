"""Whether a study could show at all that an arm loses no more than the margin, known before it trains."""

from __future__ import annotations

from tuneoff.analysis.comparisons import in_points
from tuneoff.analysis.statistics import least_examples, least_margin
from tuneoff.records.outline import MarginInReach


def margin_in_reach(margin: float, arms: int, seeds: int, test_examples: int) -> MarginInReach:
    """What the study's size lets it show."""
    if arms < 2:
        return MarginInReach(
            margin=margin,
            least_test_examples=None,
            least_margin=None,
            in_reach=False,
            sentence="one arm has nothing to be compared with; add another to get a recommendation",
        )
    least, smallest = least_examples(margin, arms), least_margin(test_examples, arms)
    reasons = []
    if test_examples < least:
        reasons.append(
            f"{test_examples:,} test examples cannot show that one of {arms} arms loses less than {in_points(margin)}, "
            f"unless it is ahead: that takes at least {least:,}, or analysis.margin = "
            f"{_rounded_up(smallest):g} or more"
        )
    if seeds < 2:
        reasons.append("one seed never ranks methods: at least two are needed to show anything")
    return MarginInReach(
        margin=margin,
        least_test_examples=least,
        least_margin=smallest,
        in_reach=seeds > 1 and test_examples >= least,
        sentence="; ".join(reasons) or None,
    )


def _rounded_up(margin: float) -> float:
    """To a tenth of a point."""
    return -(-margin * 1000 // 1) / 1000
