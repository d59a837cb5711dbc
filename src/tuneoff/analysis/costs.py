"""What an arm costs, by the field of `summary.json` that holds it, and when two costs may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PREFERENCES = {
    "memory": ("peak_train_memory_bytes", "the least memory in training"),
    "time": ("train_seconds", "the least time to train"),
    "parameters": ("trainable_parameters", "the fewest trainable parameters"),
    "checkpoint": ("checkpoint_bytes", "the smallest checkpoint"),
    "latency": ("inference_latency_seconds", "the least time to classify a text"),
}
"""What `prefer` may be: the field, and how an arm that has the least of it is described."""
COSTS = tuple(field for field, _ in PREFERENCES.values())
CLOCKED = ("train_seconds", "inference_latency_seconds")
"""Costs that differ between runs of one arm, and that other runs on the same device disturb."""


def comparable(arms: Sequence[Mapping[str, Any]], cost: str) -> bool:
    """Whether arms may be compared by a cost: times only where all were taken alike, alone on a device or not."""
    return cost not in CLOCKED or len({arm["times_shared"] for arm in arms if arm["runs"]}) <= 1


def costs_no_more(arm: Mapping[str, Any], other: Mapping[str, Any], cost: str) -> bool:
    """Whether an arm costs at most as much as another: of times, its slowest run at most the other's fastest."""
    if cost in CLOCKED:
        return bool(max(arm[f"{cost}_by_run"]) <= min(other[f"{cost}_by_run"]))
    return bool(arm[cost] <= other[cost])
