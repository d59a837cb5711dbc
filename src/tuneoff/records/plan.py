"""The plan of a study: `plan.json`."""

from __future__ import annotations

from pydantic import TypeAdapter

from tuneoff.records.record import Record


class PlanEntry(Record):
    """A run that is planned. `plan.json` is a list of these, in the order in which they are carried out."""

    id: str
    """names the run, and ends in a hash of all that decides its result"""
    arm: str
    """name of the arm"""
    method: str
    """its method"""
    seed: int
    """of the head, the order of examples and the dropout"""
    part: str = ""
    """of the data: `fold-2`, `train-300`; empty where there is only the whole, and absent from older plans"""
    learning_rate: float
    """at the highest of its schedule"""
    steps: int | None = None
    """optimiser steps; absent from older plans"""
    trial: bool = False
    """whether it tunes: it is scored on validation alone, and never opens the test split"""


STORED_PLAN = TypeAdapter(tuple[PlanEntry, ...])
"""Reads and describes `plan.json`."""
