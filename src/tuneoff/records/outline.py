"""What a study would do: what `tuneoff plan --json` prints."""

from __future__ import annotations

from tuneoff.records.measurements import ParameterCounts
from tuneoff.records.record import Record


class OutlinedTrials(Record):
    """The trials that come before the runs."""

    runs: int
    """to be expected, where every arm finds its rate without going beyond an edge"""
    steps: int
    """optimiser steps of all of them"""
    extensions: int
    """how many more there may be"""
    few_validation: str | None = None
    """a sentence where validation has too few examples to choose finely between learning rates"""


class OutlinedPart(Record):
    """A part of the data."""

    part: str
    """its name; empty where there is only the whole"""
    sizes: dict[str, int]
    """examples by split"""
    steps_per_run: int
    """optimiser steps"""
    class_weights: dict[str, float] | None
    """by class, `balanced` ones computed; null where all count alike"""


class OutlinedArm(Record):
    """An arm."""

    arm: str
    """its name"""
    method: str
    """its method"""
    learning_rate: float
    """of one that is tuned: where its search begins, on the first part"""
    tuned: bool
    """whether it looks for its learning rate"""
    parameters: ParameterCounts
    """as in `result.json`"""


class MarginInReach(Record):
    """Whether the study could show that an arm loses no more than the margin."""

    margin: float
    """of the objective, that may be lost"""
    least_test_examples: int | None
    """that could show a loss of it to be absent between arms that agree everywhere; null for a single arm"""
    least_margin: float | None
    """that the study's test examples could show; null for a single arm"""
    in_reach: bool
    """whether the study has enough of both seeds and test examples"""
    sentence: str | None
    """what to do where it has not"""


class StudyOutline(Record):
    """What a study would do."""

    study: str
    """its name"""
    model: str
    """folder, or id on the Hub"""
    sizes: dict[str, int]
    """examples by split, as in `prepared.json`"""
    seeds: tuple[int, ...]
    """of the study"""
    runs: int
    """without trials"""
    steps_per_run: int
    """of the first part"""
    steps: int
    """of all runs, without trials"""
    trials: OutlinedTrials
    """that come before"""
    parts: tuple[OutlinedPart, ...]
    """of the data"""
    arms: tuple[OutlinedArm, ...]
    """in the study's order"""
    example_unit: float = 1.0
    """how far a test example that is right or wrong moves the objective, times their number; 1 for accuracy, of others
    to be expected from the labels: where it is 2, so many examples tell as little as half as many tell of accuracy"""
    margin: MarginInReach | None = None
    """what its size lets it show"""
