"""What an arm costs, by the field of `summary.json` that holds it, and when two costs may be compared."""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.analysis.conditions import ONLY_OF_TIMES, differences
from tuneoff.records.arm_summary import ArmCosts, ArmSummary, ScoredArm
from tuneoff.records.recommendation import Preference

PREFERENCES: dict[Preference, tuple[str, str]] = {
    "memory": ("peak_train_memory_bytes", "takes the least memory in training"),
    "time": ("train_seconds", "takes the least time to train"),
    "parameters": ("trainable_parameters", "has the fewest trainable parameters"),
    "checkpoint": ("checkpoint_bytes", "has the smallest checkpoint"),
    "cost": ("device_seconds", "has the cheapest runs"),
    "latency": ("inference_latency_seconds", "takes the least time to classify a text"),
}
"""What `prefer` may be: the field, and what is said of an arm that has the least of it."""
COSTS = tuple(field for field, _ in PREFERENCES.values())
WHOLE = "device_seconds"
LATENCY = "inference_latency_seconds"
UNMERGED = "that of an unmerged adapter, which takes no time of its own once it is merged"
"""Why an arm is not ranked by its latency."""
TIMES = ("train_seconds", WHOLE, LATENCY)
"""Costs that differ between runs of one arm, and that other runs on the same device disturb."""
MEMORY = ("peak_train_memory_bytes",)
SIZES = ("trainable_parameters", "checkpoint_bytes")
"""Costs that are the same on every machine."""
NAMES = {
    "train_seconds": "times",
    WHOLE: "costs",
    LATENCY: "times to classify a text",
    "peak_train_memory_bytes": "peak memory",
}
"""What costs that depend on conditions are called in a sentence."""


def cost_of(arm: ScoredArm, cost: str) -> float | None:
    """An arm's cost by its field; None where it is not known."""
    value: float | None = getattr(arm, cost)
    return value


def known_cost(arm: ScoredArm, cost: str) -> float:
    """The cost of an arm of which it is known."""
    value = cost_of(arm, cost)
    assert value is not None
    return value


def ranked(arms: Sequence[ArmSummary], cost: str) -> list[ScoredArm]:
    """Those of the arms that may be ranked by a cost: it is known of them, and it is the cost of using them.

    An adapter that is timed beside the weights would be as fast as these if it were merged into them, so that a time to
    classify a text with an unmerged adapter is ranked among such times alone, where there are no others.
    """
    known = [arm for arm in arms if isinstance(arm, ScoredArm) and cost_of(arm, cost) is not None]
    if cost != LATENCY:
        return known
    return [arm for arm in known if not arm.adapter_unmerged] or known


def measured_differently(arms: Sequence[ArmCosts], cost: str) -> list[str]:
    """In what conditions arms differ that a cost depends on, in words; nothing where it may be compared."""
    if cost in SIZES:
        return []
    return differences([arm.conditions for arm in arms], but=() if cost in TIMES else ONLY_OF_TIMES)


def not_comparable(arms: Sequence[ScoredArm], cost: str) -> str | None:
    """Why arms are not compared by a cost, as it ends a sentence; None where they may be."""
    found = measured_differently(arms, cost)
    return f"they were measured under different conditions ({'; '.join(found)})" if found else None


def costs_no_more(arm: ScoredArm, other: ScoredArm, cost: str) -> bool:
    """Whether an arm costs at most as much as another: of times, its slowest run at most the other's fastest."""
    if cost in TIMES:
        return bool(max(getattr(arm, f"{cost}_by_run")) <= min(getattr(other, f"{cost}_by_run")))
    return known_cost(arm, cost) <= known_cost(other, cost)
