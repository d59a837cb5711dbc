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
    said = f"{arm.arm}: {megabytes(weights)} of weights, {megabytes(optimiser)} kept by the optimiser, {_rest(arm)}"
    if full is not None and full is not arm and full.peak_train_memory_bytes > peak:
        saved = 1 - peak / full.peak_train_memory_bytes
        less = (full.optimiser_memory_bytes or 0) - optimiser
        said += f"; {saved:.0%} less than {full.arm}, whose optimiser keeps {megabytes(less)} more"
    if arm.memory_kind == "cuda_allocated" and _kept(arm) > MUCH * peak:
        said += "; with training.gradient_checkpointing a step keeps less and takes longer"
    return f"{said}."


def _rest(arm: ScoredArm) -> str:
    """What else the peak is made of, as far as it is told apart."""
    peak, parts = arm.peak_train_memory_bytes, arm.memory_parts
    if parts is None:
        on_gpu = arm.memory_kind == "cuda_allocated"
        keeps = "what a step keeps and libraries take" if on_gpu else "Python, libraries and what a step keeps"
        return f"and {megabytes(_kept(arm))} ({_kept(arm) / peak:.0%} of its peak) of {keeps}"
    if parts.process is not None:
        steps = f"{megabytes(parts.temporary)} ({parts.temporary / peak:.0%} of its peak) of steps and what they load"
        return f"{megabytes(parts.process)} of Python and libraries, and {steps}"
    activations = parts.activations or 0
    others = (parts.workspace or 0) + parts.temporary
    return (
        f"{megabytes(activations)} ({activations / peak:.0%} of its peak) of activations, "
        f"{megabytes(parts.gradients or 0)} of gradients, and {megabytes(others)} of results in between and workspaces"
    )


def _kept(arm: ScoredArm) -> int:
    """Bytes of what a step keeps; where it is not told apart, with all else that is neither weights nor optimiser."""
    if arm.memory_parts is not None and arm.memory_parts.activations is not None:
        return arm.memory_parts.activations
    held = (arm.weights_memory_bytes or 0) + (arm.optimiser_memory_bytes or 0)
    return max(0, arm.peak_train_memory_bytes - held)
