"""Where an arm's memory went, and why it saves what it saves, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.report.words import megabytes

if TYPE_CHECKING:
    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.summary import Summary

MOST_ARMS = 4
"""That each have a sentence; of more, those which save the most and the least."""
MUCH = 0.6
"""Of a peak, from which on what a step keeps is said to decide it."""


def where_memory_goes(summary: Summary) -> list[str]:
    """A sentence for each arm, or of many arms for those with the lowest and the highest peak."""
    arms = sorted(
        (arm for arm in summary.scored_arms if arm.weights_memory_bytes is not None),
        key=lambda arm: arm.peak_train_memory_bytes,
    )
    if len(arms) > MOST_ARMS:
        arms = [arms[0], arms[-1]]
    full = next((arm for arm in summary.scored_arms if arm.method == "full" and arm in arms), None)
    return [_sentence(arm, full) for arm in arms]


def _sentence(arm: ScoredArm, full: ScoredArm | None) -> str:
    peak, weights = arm.peak_train_memory_bytes, arm.weights_memory_bytes or 0
    optimiser = arm.optimiser_memory_bytes or 0
    rest = max(0, peak - weights - optimiser)
    on_gpu = arm.memory_kind == "cuda_allocated"
    keeps = "what a step keeps and libraries take" if on_gpu else "Python, libraries and what a step keeps"
    said = (
        f"{arm.arm}: {megabytes(weights)} of weights, {megabytes(optimiser)} kept by the optimiser, and "
        f"{megabytes(rest)} ({rest / peak:.0%} of its peak) of {keeps}"
    )
    if full is not None and full is not arm and full.peak_train_memory_bytes > peak:
        saved = 1 - peak / full.peak_train_memory_bytes
        less = (full.optimiser_memory_bytes or 0) - optimiser
        said += f"; {saved:.0%} less than {full.arm}, whose optimiser keeps {megabytes(less)} more"
    if on_gpu and rest > MUCH * peak:
        said += "; with training.gradient_checkpointing a step keeps less and takes longer"
    return f"{said}."
