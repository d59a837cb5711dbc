"""Which arms a user's limits leave out."""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.recommendation import Excluded, Limits


def beyond_limits(arms: Sequence[ArmSummary], limits: Limits) -> list[Excluded]:
    """The arms without results and those that need more memory or time than is allowed, each with the reason."""
    reasons = ((arm.arm, _why(arm, limits)) for arm in arms)
    return [Excluded(arm=name, why=why) for name, why in reasons if why is not None]


def _why(arm: ArmSummary, limits: Limits) -> str | None:
    if not isinstance(arm, ScoredArm):
        return "no run of it has succeeded" if arm.failed else "no run of it has ended yet"
    memory, seconds = limits.max_memory, limits.max_train_time
    if memory is not None and arm.peak_train_memory_bytes > memory:
        return f"training takes {arm.peak_train_memory_bytes / 1e6:,.0f} MB, more than {memory / 1e6:,.0f} MB"
    if seconds is not None and arm.train_seconds > seconds:
        shared = " on a shared device" if arm.times_shared else ""
        return f"training takes {arm.train_seconds:,.1f} s{shared}, more than {seconds:,.1f} s"
    return None
