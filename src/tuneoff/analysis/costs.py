"""What an arm costs, by the field of `summary.json` that holds it, and when two costs may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PREFERENCES = {
    "memory": ("peak_train_memory_bytes", "takes the least memory in training"),
    "time": ("train_seconds", "takes the least time to train"),
    "parameters": ("trainable_parameters", "has the fewest trainable parameters"),
    "checkpoint": ("checkpoint_bytes", "has the smallest checkpoint"),
    "latency": ("inference_latency_seconds", "takes the least time to classify a text"),
}
"""What `prefer` may be: the field, and what is said of an arm that has the least of it."""
COSTS = tuple(field for field, _ in PREFERENCES.values())
LATENCY = "inference_latency_seconds"
UNMERGED = "that of an unmerged adapter, which takes no time of its own once it is merged"
"""Why an arm is not ranked by its latency."""
CLOCKED = ("train_seconds", LATENCY)
"""Costs that differ between runs of one arm, and that other runs on the same device disturb."""


def ranked(arms: Sequence[Mapping[str, Any]], cost: str) -> list[Mapping[str, Any]]:
    """Those of the arms that may be ranked by a cost: it is known of them, and it is the cost of using them.

    An adapter that is timed beside the weights would be as fast as these if it were merged into them, so that a time to
    classify a text with an unmerged adapter is ranked among such times alone, where there are no others.
    """
    known = [arm for arm in arms if arm["runs"] and arm[cost] is not None]
    if cost != LATENCY:
        return known
    return [arm for arm in known if not arm.get("adapter_unmerged", False)] or known


def comparable(arms: Sequence[Mapping[str, Any]], cost: str) -> bool:
    """Whether arms may be compared by a cost: times only where all were taken alike, alone on a device or not."""
    return cost not in CLOCKED or len({arm["times_shared"] for arm in arms if arm["runs"]}) <= 1


def costs_no_more(arm: Mapping[str, Any], other: Mapping[str, Any], cost: str) -> bool:
    """Whether an arm costs at most as much as another: of times, its slowest run at most the other's fastest."""
    if cost in CLOCKED:
        return bool(max(arm[f"{cost}_by_run"]) <= min(other[f"{cost}_by_run"]))
    return bool(arm[cost] <= other[cost])
