"""Whether an arm learned its task."""

from __future__ import annotations

from typing import Literal

from tuneoff.records.record import Record

LearningState = Literal["learned", "not learned", "diverged", "no better than guessing"]


class Learning(Record):
    """Whether an arm learned, by the runs that its accuracy stands on: see [did it learn?](tuning.md#did-it-learn)."""

    state: LearningState
    """as most of its runs are; `not learned`: its training loss stayed near guessing; `diverged`: that rose, or is
    no number; `no better than guessing`: it learned its training data, and nothing about other texts"""
    runs: int
    """that have ended"""
    not_learned: int
    """of which in another state than `learned`"""
    sentence: str
    """the cause and what to set; empty for an arm that learned"""
