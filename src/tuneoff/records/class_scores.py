"""How well an arm tells classes apart, one by one and from each other."""

from __future__ import annotations

from tuneoff.records.record import Record


class ClassScores(Record):
    """A class against the rest: means over an arm's runs, from 0 to 1."""

    precision: float
    """the share right of what was called so; 0 where nothing was"""
    recall: float
    """the share found of what is so; 0 where nothing is"""
    f1: float
    """their harmonic mean"""
    examples: int
    """test examples of the class"""
    threshold: float | None = None
    """the probability above which it is answered, mean over runs; null where the most probable is, or above a half"""


class Confusion(Record):
    """Test examples of a class that an arm calls another."""

    label: str
    """the class that they are given"""
    prediction: str
    """what the arm calls them"""
    examples: float
    """mean over runs"""


class ByClass(Record):
    """What an arm's predictions are, class by class; means over its runs."""

    balanced_accuracy: float | None
    """the mean recall of the classes that are tested, from 0 to 1; null of several labels an example"""
    mcc: float | None
    """Matthews' correlation of predictions and labels, from -1 to 1: 0 for a constant answer, also to uneven classes;
    null of several labels an example"""
    classes: dict[str, ClassScores]
    """by label, in their order"""
    confusions: tuple[Confusion, ...]
    """cells of the confusion matrix beside its diagonal that are not empty, the largest first; at most 400"""
