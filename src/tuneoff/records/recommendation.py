"""Which arm to use: what is shown, and what to take if one must choose now."""

from __future__ import annotations

from typing import Literal

from tuneoff.records.comparison import Headline
from tuneoff.records.record import Record

Preference = Literal["memory", "time", "parameters", "checkpoint", "cost", "latency"]


class Limits(Record):
    """What the user's machine and patience allow; null for no limit."""

    max_memory: int | None = None
    """bytes in training"""
    max_train_time: float | None = None
    """seconds"""
    min_accuracy: float | None = None
    """mean test accuracy, from 0 to 1"""


class ChooseNow(Record):
    """The arm to take if one must be taken before any is shown to be good enough."""

    arm: str
    """its name"""
    likely: bool
    """whether it is likely to lose less than `margin` against every other arm"""
    at_worst: float | None
    """the most accuracy that it loses against the best (95%), from 0 to 1; null with one seed"""
    wrong_rate: tuple[float, float] | None
    """how often such a choice was wrong in simulated studies of about this size, least and most over how much seeds
    matter; null where none was simulated: one seed, another margin than 0.01, a size far from those of
    [the table](statistics.md#how-often-the-verdict-is-wrong)"""
    sentence: str
    """what the reports say of it"""


class Excluded(Record):
    """An arm that is not recommended."""

    arm: str
    """its name"""
    why: str
    """as it continues a sentence that has named the arm"""


class Recommendation(Record):
    """Which arm to use."""

    arm: str | None = None
    """that is shown to be good enough; null where none is"""
    choose_now: ChooseNow | None = None
    """the arm to take if one must be taken now; null where `arm` is given, or no arm can be named and `reason` says
    why"""
    best: str | None = None
    """the arm of highest mean"""
    ties_with_best: tuple[str, ...] = ()
    """arms that it is not shown to be better than"""
    metric: str = "accuracy"
    """what it goes by, as people call it"""
    margin: float
    """of that, which may be lost"""
    prefer: Preference
    """what is to be cheap"""
    limits: Limits
    """what the arm may need"""
    reason: str
    """in words"""
    more_seeds: int | None = None
    """an arm that would be needed to show one; null where they would not help, or nothing is needed"""
    test_examples: int | None = None
    """in all that would be needed; null likewise"""
    times: int | None = None
    """so many times the seeds and the test examples, both, would be needed; null likewise"""
    shown: tuple[str, ...] = ()
    """arms that are accurate enough, cheapest first"""
    excluded: tuple[Excluded, ...] = ()
    """arms that cannot be named"""
    headlines: tuple[Headline, ...] = ()
    """as those of the study, of the arms that it chooses among"""
