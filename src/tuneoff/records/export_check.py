"""How an exported model was checked."""

from __future__ import annotations

from tuneoff.records.record import Record


class ExportCheck(Record):
    """What an exported model says of the study's test texts, beside what the study stored.

    It was loaded in a fresh process by the lines of its README.md, with plain libraries and without tuneoff.
    """

    texts: int
    """that were classified"""
    test_texts: int
    """that there are"""
    batch_size: int
    """texts that were classified at once, in the order of the test split"""
    device: str
    """that they were classified on"""
    tolerance: float | None
    """most that a logit may differ; null where the base model is in full precision, and was quantised in the run"""
    largest_difference: float
    """of a logit"""
    changed_labels: int
    """texts whose label is another one"""
    test_accuracy: float | None
    """on these texts, from 0 to 1; null of a refit that was trained on them"""
    test_macro_f1: float | None
    """mean of the classes' F1, likewise"""
    stored_test_accuracy: float | None
    """of the run, on the same texts"""
    versions: dict[str, str]
    """of Python and of the packages that it was loaded with"""
