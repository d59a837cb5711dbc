"""What a study cannot show, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.analysis.comparisons import in_points
from tuneoff.analysis.conditions import differences
from tuneoff.analysis.costs import MEMORY, measured_differently
from tuneoff.analysis.statistics import RISK, least_examples, lowest_sign_flip_p_value
from tuneoff.data.audit.noticed import listed
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.conditions import engine_costs_depend_on

FEW_SEEDS = 4
"""Up to so many, intervals are mostly made wide by how little is known of the spread between seeds."""
NUMBERS = {2: "Two", 3: "Three", 4: "Four", 5: "Five"}


def write_notes(
    arms: Sequence[ArmSummary],
    planned_seeds: int,
    test_examples: int,
    margin: float,
    untried: Sequence[str],
    unit: float = 1.0,
) -> list[str]:
    """Sentences for the report about what few seeds, few test examples and failed runs leave open.

    Args:
        arms: of the summary.
        planned_seeds: of the study.
        test_examples: of the study.
        margin: accuracy that may be lost.
        unit: of the metric that arms are compared by.
        untried: arms that ran at their starting rate, since the study tunes nothing.
    """
    scored = [arm for arm in arms if isinstance(arm, ScoredArm)]
    if not scored:
        return []
    notes = [
        f"{arm.arm} has results of {arm.runs} of {planned_seeds} seeds and is compared on those that the other "
        "arm of a pair also has."
        for arm in scored
        if arm.runs < planned_seeds
    ]
    if untried:
        notes.append(
            f"Nothing was tuned (tuning.trials = 1): {', '.join(untried)} ran at a starting rate that was not tried, "
            "so a difference may be one of learning rates, not of methods."
        )
    seeds = min(arm.runs for arm in scored)
    if seeds == 1:
        notes.append(
            "With one seed an interval covers the choice of test examples alone: how far another seed would move an "
            "accuracy is not known, so arms are not ranked. A test then speaks of two trained models, not of "
            "two methods."
        )
    elif lowest_sign_flip_p_value(seeds) > RISK:
        notes.append(
            f"{NUMBERS[seeds]} seeds cannot go below p = {lowest_sign_flip_p_value(seeds):.2g} by flipping signs "
            "alone; what is shown here rests on the spread over test examples as well."
        )
    if 1 < seeds <= FEW_SEEDS:
        notes.append(
            f"{NUMBERS[seeds]} seeds say little about the spread between seeds, and the intervals are wide on purpose; "
            "each further seed narrows them by more than its share."
        )
    least = least_examples(margin, max(2, len(scored)), unit)
    if test_examples < least:
        notes.append(
            f"With {test_examples:,} test examples a loss of {in_points(margin)} cannot be excluded for one of "
            f"{len(scored)} arms, however alike they are, unless it is ahead; that takes at least {least:,}."
        )
    unmerged = [arm.arm for arm in scored if arm.adapter_unmerged and arm.inference_latency_seconds is not None]
    if unmerged:
        notes.append(
            f"The time to classify a text was taken with the {'adapters' if len(unmerged) > 1 else 'adapter'} of "
            f"{listed(unmerged)} beside the weights. Merged into them, an adapter takes no time of its own, so these "
            "times are not ranked with those of other arms."
        )
    return [*notes, *_of_conditions(scored)]


def _of_conditions(arms: Sequence[ScoredArm]) -> list[str]:
    """What is said of costs that were measured under different conditions."""
    notes = []
    several = [arm for arm in arms if arm.other_costs]
    if several:
        told = [f"{arm.arm} ({arm.measured_runs} of {arm.runs} runs)" for arm in several]
        found = dict.fromkeys(
            difference
            for arm in several
            for difference in differences(
                {**costs.conditions, **engine_costs_depend_on(costs.engine)} for costs in (arm, *arm.other_costs)
            )
        )
        notes.append(
            f"Not all runs of an arm were measured under the same conditions ({'; '.join(found)}), so the costs of "
            f"{listed(told)} are those of so many runs alone."
        )
    between = measured_differently(arms, "train_seconds")
    if between:
        what = "Times and memory" if measured_differently(arms, MEMORY[0]) else "Times"
        notes.append(
            f"{what} are not compared, since arms were measured under different conditions ({'; '.join(between)})."
        )
    return notes
