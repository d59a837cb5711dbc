"""Methods as they describe themselves: what `tuneoff methods --json` prints."""

from __future__ import annotations

from pydantic import JsonValue

from tuneoff.records.record import Record


class DescribedOption(Record):
    """An option of a method."""

    name: str
    """as the study file has it"""
    default: JsonValue
    """its value where the study file gives none"""
    description: str
    """what it is; empty where the method says nothing of it"""


class DescribedMethod(Record):
    """A method."""

    method: str
    """its name, as the study file has it"""
    summary: str
    """what it does, in a sentence"""
    reference: str
    """the paper or page that it comes from"""
    starting_rate: float | None
    """where the search for its learning rate starts; null where it has none"""
    options: tuple[DescribedOption, ...]
    """in the order of its fields"""
