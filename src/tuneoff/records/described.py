"""Methods as they describe themselves: what `tuneoff methods --json` prints."""

from __future__ import annotations

from pydantic import JsonValue

from tuneoff.records.measurements import ParameterCounts
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
    title: str
    """what people call it"""
    idea: str
    """what it is, in a sentence or more"""
    summary: str
    """what it does, in a sentence"""
    formula: str
    """how many parameters it trains beside the head: an expression in a layer's inputs and outputs and in the options,
    or words"""
    mergeable: bool
    """whether it can be merged into the weights, and then takes no time of its own"""
    packs: bool
    """whether texts can be packed end to end, where the architecture allows it"""
    quantizations: tuple[str, ...]
    """how the backbone's weights may be stored, beside full precision"""
    reference: str
    """the paper or page that it comes from"""
    shortfall: str
    """where it stayed more than four points behind full fine-tuning, and why; empty where it did not"""
    starting_rate: float | None
    """where the search for its learning rate starts; null where it has none"""
    options: tuple[DescribedOption, ...]
    """in the order of its fields"""


class MethodOnModel(Record):
    """What a method with its default options would train of a model."""

    method: str
    """its name"""
    parameters: ParameterCounts | None
    """null where it does not fit the model"""
    why_not: str | None
    """what is in the way; null where nothing is"""
