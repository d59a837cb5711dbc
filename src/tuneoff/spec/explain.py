"""What is wrong with a study file, in one line."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tuneoff.core.names import did_you_mean
from tuneoff.spec.arms import METHODS
from tuneoff.spec.data import FilesData, FormatSpec, HubData, ReviewsData
from tuneoff.spec.schema import (
    AnalysisSpec,
    ExecutionSpec,
    ModelSpec,
    StudySpec,
    TrainingSpec,
    TuningSpec,
    tracking_table,
)

SHARES = ("margin", "min_accuracy", "warmup_ratio")
"""Fields that go from 0 to 1, and that people may write as percentages."""


def explain(error: ValidationError, table: dict[str, Any]) -> str:
    """What is wrong with a study file, where, and what would be right, in one line.

    Args:
        error: of `StudySpec`.
        table: what was validated.
    """
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part not in ("reviews", "files", "hub")]
    where = ".".join(path) or "study"
    if first["type"] == "extra_forbidden":
        return f"unknown field '{where}'{did_you_mean(path[-1], _fields_at(first['loc'], table))}"
    if first["type"] == "missing":
        return f"'{where}' is missing"
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"{where}.source must be 'hub', 'files' or 'reviews'"
    if first["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return f"{where} is a table, with fields of its own (it is {first.get('input')!r})"
    if first["type"] in ("tuple_type", "list_type"):
        return f"{where} is a list (it is {first.get('input')!r})"
    given = first.get("input")
    shown = "" if isinstance(given, dict | list | tuple | BaseModel) else f" (it is {given!r})"
    return f"{where}: {in_words(first)}{shown}"


def in_words(error: ErrorDetails) -> str:
    """What is wrong with a value; a share that is written as a percentage is rewritten."""
    message = error["msg"].removeprefix("Value error, ")
    number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", str(error.get("input")))
    if error["loc"] and error["loc"][-1] in SHARES and number and 1 <= float(number[1]) <= 100:
        return f"it is a share from 0 to 1: write {float(number[1]) / 100:g} for {float(number[1]):g}%"
    return message[0].lower() + message[1:]


def _fields_at(location: tuple[int | str, ...], table: dict[str, Any]) -> list[str]:
    """Names of the fields that are allowed where an unknown one was found."""
    if len(location) == 1:
        return list(StudySpec.model_fields)
    if location[0] == "arms":
        method = table["arms"][location[1]]["method"]
        return [field for field in METHODS.classes()[method].model_fields if field != "method"]
    if location[:3] == ("data", "files", "format"):
        return list(FormatSpec.model_fields)
    sources: dict[Any, type[BaseModel]] = {"reviews": ReviewsData, "files": FilesData, "hub": HubData}
    tables: dict[Any, type[BaseModel]] = {
        "model": ModelSpec,
        "training": TrainingSpec,
        "tuning": TuningSpec,
        "execution": ExecutionSpec,
        "analysis": AnalysisSpec,
        "tracking": tracking_table(),
    }
    return list((sources[location[1]] if location[0] == "data" else tables[location[0]]).model_fields)
