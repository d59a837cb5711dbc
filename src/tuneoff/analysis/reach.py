"""Whether a study could show at all that an arm loses no more than the margin, known before it trains."""

from __future__ import annotations

from tuneoff.analysis.comparisons import in_points
from tuneoff.analysis.statistics import least_examples, least_margin
from tuneoff.analysis.wording import ACCURACY
from tuneoff.records.outline import MarginInReach


def margin_in_reach(
    margin: float, arms: int, seeds: int, test_examples: int, unit: float = 1.0, metric: str = ACCURACY
) -> MarginInReach:
    """What the study's size lets it show.

    Args:
        margin: of the metric, that may be lost.
        arms: how many there are.
        seeds: of each.
        test_examples: of the study.
        unit: of the metric (`Scale`), known for accuracy and expected of others.
        metric: what people call it.
    """
    if arms < 2:
        return MarginInReach(
            margin=margin,
            least_test_examples=None,
            least_margin=None,
            in_reach=False,
            sentence="one arm has nothing to be compared with; add another to get a recommendation",
        )
    least, smallest = least_examples(margin, arms, unit), least_margin(test_examples, arms, unit)
    of_it, so_many = ("", f"at least {least:,}") if metric == ACCURACY else (f" of {metric}", f"about {least:,}")
    reasons = []
    if test_examples < least:
        reasons.append(
            f"{test_examples:,} test examples cannot show that one of {arms} arms loses less than {in_points(margin)}"
            f"{of_it}, unless it is ahead: that takes {so_many}, or analysis.margin = "
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
