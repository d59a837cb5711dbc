"""How the output of a model that predicts a number is turned into that number."""

from __future__ import annotations

from tuneoff.records.record import Record


class NumberScale(Record):
    """A number is `mean + deviation * output`: the model learns numbers of mean 0 and standard deviation 1."""

    mean: float = 0.0
    """of the study's training examples"""
    deviation: float = 1.0
    """likewise; above 0"""
