"""Baselines: cheap references that every arm must beat."""

from __future__ import annotations

from tuneoff.records.record import Record


class Baseline(Record):
    """A baseline on one part of the data."""

    label: str
    """what it is called"""
    test_accuracy: float | None
    """from 0 to 1; of several labels an example, all of them right; null where labels are numbers"""
    trained_on: int
    """training examples that it was fitted on"""
    predictions: tuple[int, ...] | tuple[float, ...] | tuple[tuple[int, ...], ...]
    """in the order of the test split: class indices, numbers, or 0 or 1 for each of several labels"""
    probabilities: tuple[tuple[float, ...], ...] = ()
    """likewise of each class or label, where the objective judges them; otherwise none"""
