"""Test examples on which arms disagree."""

from __future__ import annotations

from tuneoff.records.record import Record


class Answers(Record):
    """What the runs of an arm answered to a test example."""

    right: float
    """share of seeds that were right, from 0 to 1"""
    answer: str
    """the label that was given most often"""


class Disagreement(Record):
    """A test example whose arms differ in how often they are right."""

    example: int
    """row of `data/test.parquet`, from 0"""
    file: str | None
    """where the user finds it: the file or dataset; null for data that an older version has prepared"""
    row: int | None
    """and the row there, from 1; null likewise"""
    text: str
    """with ` / ` before the second of a pair; of each the first 300 characters at most, in whole words"""
    label: str
    """that is right"""
    arms: dict[str, Answers]
    """by arm, in the study's order"""
