"""Writes what the records say of a study's files into docs/results-format.md and docs/schemas: `make docs`.

With `--check` nothing is written, and the exit code is 1 where something is not as the records say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from tuneoff.records.arm_summary import ArmSummary
from tuneoff.records.environment import Environment
from tuneoff.records.plan import STORED_PLAN, PlanEntry
from tuneoff.records.prepared import Prepared
from tuneoff.records.refit import Refit
from tuneoff.records.run import STORED_RESULT, DivergedRun, RunResult, ScoredRun, TrainedRun, UnsuccessfulRun
from tuneoff.records.saved_model import SavedModel
from tuneoff.records.summary import Summary

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "results-format.md"
RECORDS: dict[str, list[type[BaseModel]]] = {
    "result.json": [RunResult, UnsuccessfulRun, DivergedRun, TrainedRun, ScoredRun],
    "summary.json": [Summary, ArmSummary],
    "plan.json": [PlanEntry],
    "prepared.json": [Prepared],
    "refit.json": [Refit],
    "environment.json": [Environment],
    "tuneoff.json": [SavedModel],
}
"""By file, the records that its description begins with; those that they hold follow."""
SCHEMAS: dict[str, TypeAdapter[Any]] = {
    "result.json": STORED_RESULT,
    "summary.json": TypeAdapter(Summary),
    "plan.json": STORED_PLAN,
    "tuneoff.json": TypeAdapter(SavedModel),
}
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}


def main() -> int:
    """Writes or checks, and says what has changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    changed = []
    for path, text in _files():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed.append(path)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path in changed:
        print(f"{path}: {'not as the records say; run `make docs`' if check else 'written'}")
    return 1 if check and changed else 0


def _files() -> Iterator[tuple[Path, str]]:
    """All files that are made from records, with their content."""
    yield PAGE, _page(PAGE.read_text(encoding="utf-8"))
    for name, adapter in SCHEMAS.items():
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": name,
            **adapter.json_schema(mode="serialization"),
        }
        yield DOCS / "schemas" / name, json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _page(text: str) -> str:
    """The page with the parts between its marks made anew."""
    shown: set[type[BaseModel]] = set()
    for name, roots in RECORDS.items():
        begin, end = f"<!-- records of {name} -->\n", f"<!-- end of {name} -->\n"
        before, rest = text.split(begin)
        text = before + begin + _described(roots, shown) + end + rest.split(end)[1]
    return text


def _described(roots: list[type[BaseModel]], shown: set[type[BaseModel]]) -> str:
    """A table a record: the first ones, and then those that they hold, each once on the page."""
    waiting, tables = list(roots), []
    while waiting:
        record = waiting.pop(0)
        if record in shown:
            continue
        shown.add(record)
        bases = [base for base in record.__mro__[1:] if base in shown]
        known = {name for base in bases for name in base.model_fields}
        fields = {name: field for name, field in record.model_fields.items() if name not in known}
        also = f" It has the fields of {_link(bases[0])}{' and these:' if fields else '.'}" if bases else ""
        tables.append(f"\n### {record.__name__}\n\n{' '.join((record.__doc__ or '').split())}{also}\n")
        if fields:
            rows = [
                f"| `{name}` | {_type(field.annotation)} | {' '.join((field.description or '').split())} |"
                for name, field in fields.items()
            ]
            tables.append("\n".join(["", "| field | type | meaning |", "| --- | --- | --- |", *rows, ""]))
        held = [one for field in record.model_fields.values() for one in _held(field.annotation)]
        waiting = [*waiting, *held]
    return "".join(tables) + "\n"


def _held(annotation: Any) -> list[type[BaseModel]]:
    """The records that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for part in typing.get_args(annotation) for one in _held(part)]


def _type(annotation: Any) -> str:
    """A type in words."""
    if annotation in WORDS:
        return WORDS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _link(annotation)
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_type, parts)))
    if origin is tuple:
        return f"list of: {_type(parts[0])}" if parts[-1] is ... else f"list of {', '.join(map(_type, parts))}"
    if origin is dict:
        return f"by name: {_type(parts[1])}"
    raise TypeError(f"no words for {annotation}")


def _link(record: type[BaseModel]) -> str:
    return f"[{record.__name__}](#{re.sub('[^a-z]', '', record.__name__.lower())})"


if __name__ == "__main__":
    sys.exit(main())
