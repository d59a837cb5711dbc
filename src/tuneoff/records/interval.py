"""Means with their intervals."""

from __future__ import annotations

from tuneoff.records.record import Record


class MeanInterval(Record):
    """A mean and its interval."""

    mean: float
    """over runs and test examples"""
    ci_low: float
    """lower end of the 95% interval"""
    ci_high: float
    """upper end of the 95% interval"""
    covers_seeds: bool
    """false where the interval covers the choice of test examples alone"""
