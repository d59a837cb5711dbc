"""Test examples whose labels are worth a look."""

from __future__ import annotations

from tuneoff.records.record import Record


class LabelIssue(Record):
    """An example whose label all arms that learned call wrong with confidence: a row of `label-issues.csv`."""

    file: str | None
    """where the user finds it: the file or dataset; null for data that an older version has prepared"""
    row: int | None
    """and the row there, from 1; null likewise"""
    split: str
    """`test`, or the fold that it was tested in: `fold-2`"""
    label: str
    """as given"""
    arms_say: str
    """the label that all arms say instead"""
    label_probability: float
    """of the label as given: mean over arms of the mean over seeds, from 0 to 1"""
    arms_say_probability: float
    """likewise of the label that the arms say"""
    text: str
    """whole"""
    text_pair: str | None
    """likewise the second text; null where an example is one text"""


class LabelCheck(Record):
    """How many labels are worth a look; `label-issues.csv` lists them."""

    arms: tuple[str, ...]
    """that had a say, since they learned"""
    examples: int
    """that were looked at: the test split, or the test splits of all folds"""
    listed: int
    """whose label all of these arms call wrong with confidence"""
