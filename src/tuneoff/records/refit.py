"""What a refit came to: `refit.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneoff.records.conditions import Conditions
from tuneoff.records.record import Record
from tuneoff.records.saved_model import RefitRows


class ScoresOnTest(Record):
    """What one model scores on examples that it was not trained on."""

    accuracy: float | None
    """from 0 to 1; null where labels are numbers"""
    macro_f1: float | None
    """mean of the classes' or labels' F1, from 0 to 1; null likewise"""
    metrics: dict[str, float] = Field(default_factory=dict)
    """others by name, as in the results of runs"""
    examples: int
    """that it was tested on"""


class Refit(Record):
    """A run of a study that was trained once more on more of the labelled rows, at the same learning rate.

    It has no validation accuracy, since it is trained on that split.
    """

    schema_version: Literal[1] = 1
    """of this file"""
    refit_id: str
    """names the refit, and ends in a hash of all that decides its result"""
    run_id: str
    """of the run that it repeats"""
    rows: RefitRows
    """what it was trained on"""
    examples: dict[str, int]
    """that it was trained on, by split of the study"""
    arm: str
    """name of the arm"""
    method: str
    """its method"""
    seed: int
    """of the head, the order of examples and the dropout"""
    part: str
    """of the data; empty where there is only the whole"""
    learning_rate: float
    """at the highest of its schedule"""
    steps: int
    """optimiser steps (0 of a head that is fitted to features)"""
    test: ScoresOnTest | None
    """null of a refit on all rows, which has seen the test split"""
    train_seconds: float
    """optimiser steps only"""
    conditions: Conditions
    """what it was computed on"""
    predictions_sha256: str
    """of `predictions.parquet`: what it says of the study's test split"""
