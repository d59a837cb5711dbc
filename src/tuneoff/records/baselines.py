"""Baselines: cheap references that every arm must beat."""

from __future__ import annotations

from tuneoff.records.record import Record


class Baseline(Record):
    """A baseline on one part of the data."""

    label: str
    """what it is called"""
    test_accuracy: float
    """from 0 to 1"""
    trained_on: int
    """training examples that it was fitted on"""
    predictions: tuple[int, ...]
    """class indices, in the order of the test split"""
