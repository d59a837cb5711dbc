"""What is wrong with a study file, in one line: where, in the words of the file, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tuneoff.core.names import did_you_mean
from tuneoff.spec.arms import METHODS
from tuneoff.spec.data import UNKNOWN_SOURCE, source_of
from tuneoff.spec.tracking import tracking_table

FRACTIONS = ("label_smoothing", "margin", "min_accuracy", "warmup_ratio")
"""Fields that go from 0 to 1, and that people may write as percentages."""

Table = Mapping[str, Any]
"""As TOML is read."""
Location = tuple[int | str, ...]


def explain(error: ValidationError, table: Table, study: type[BaseModel]) -> str:
    """The first thing that is wrong with a study.

    Args:
        error: that validation has raised.
        table: what was validated.
        study: the model that it was validated by.
    """
    errors = error.errors()
    # A misspelt name is also one that is missing; that it is unknown says more.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    path = _path(first["loc"], table)
    where = ".".join(path) or "study"
    if first["type"] == "extra_forbidden":
        return f"unknown field '{where}'{did_you_mean(path[-1], _fields_at(first['loc'], table, study))}"
    if first["type"] == "missing":
        return f"'{where}' is missing"
    if first["type"] == UNKNOWN_SOURCE:
        return f"{where}.{first['msg']}"
    if first["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return f"{where} is a table, with fields of its own (it is {first.get('input')!r})"
    if first["type"] in ("tuple_type", "list_type"):
        return f"{where} is a list (it is {first.get('input')!r})"
    if first["type"] == "too_short":
        return f"{where}: at least one is needed"
    given = first.get("input")
    if isinstance(given, dict) and first["type"] != "value_error":
        return f"{where} is a value, without fields of its own (it is given {', '.join(map(str, given))})"
    shown = "" if isinstance(given, dict | list | tuple | BaseModel) else f" (it is {given!r})"
    return f"{where}: {in_words(first)}{shown}"


def in_words(error: ErrorDetails) -> str:
    """What is wrong with a value; a fraction that is written as a percentage is rewritten."""
    message = error["msg"].removeprefix("Value error, ")
    number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", str(error.get("input")))
    if error["loc"] and error["loc"][-1] in FRACTIONS and number and 1 <= float(number[1]) <= 100:
        return f"it is a share from 0 to 1: write {float(number[1]) / 100:g} for {float(number[1]):g}%"
    return message[0].lower() + message[1:]


def arm_name(arm: Any, position: int) -> str:
    """What an arm of a study file is called, whether or not the rest of it is right; else its position."""
    name = arm.get("name", arm.get("method")) if isinstance(arm, Mapping) else getattr(arm, "name", None)
    return name if isinstance(name, str) and name else str(position)


def _path(location: Location, table: Table) -> list[str]:
    """Where a value is, as people write it: with an arm's name for its position."""
    path = [
        str(part) for part in location if not re.match(r"[a-z-]+\[|(str|int|float|bool)$", str(part))
    ]  # without what pydantic adds
    by_name = location[:1] == ("arms",) and len(location) > 1 and location[-1] != "name"
    if by_name and isinstance(location[1], int):
        arms: Sequence[Any] = table["arms"]
        named = arm_name(arms[location[1]], location[1])
        alone = [arm_name(arm, position) for position, arm in enumerate(arms)].count(named) == 1
        path[1] = named if alone else path[1]
    return path


def _fields_at(location: Location, table: Table, study: type[BaseModel]) -> list[str]:
    """Names of the fields that are allowed where an unknown one was found."""
    model = study
    annotation: Any
    for part in location[:-1]:
        if isinstance(part, int):
            annotation = METHODS.classes()[table["arms"][part]["method"]]
        elif part == "data" and model is study:
            annotation = source_of(table["data"])
        elif location[0] == "tracking":
            annotation = tracking_table()  # trackers of other packages have fields of their own
        else:
            annotation = model.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return [field for field in model.model_fields if field != "method" or location[0] != "arms"]
