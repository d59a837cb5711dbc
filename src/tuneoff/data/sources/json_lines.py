"""JSON Lines: one object a line; a key that a line lacks is missing there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.data.sources.lines import OpenedFile, batched, read_lines
from tuneoff.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


def open_json_lines(path: Path) -> OpenedFile:
    """Opens lines of JSON objects; the columns are the keys of the first few thousand.

    Raises:
        UserError: where a line is no object, or has a key twice.
    """
    first = next(batched(_objects(path)), [])
    columns = tuple(dict.fromkeys(name for _, row in first for name in row))
    if not columns:
        raise UserError(f"{path}: is empty; each line must be a JSON object")

    def tables() -> Iterator[pa.Table]:
        import pyarrow as pa

        for batch in batched(_objects(path)):
            arrays = [_array([row.get(name) for _, row in batch]) for name in columns]
            yield pa.Table.from_arrays(arrays, names=list(columns))

    return OpenedFile(columns, tables)


def _objects(path: Path) -> Iterator[tuple[tuple[int, dict[str, Any]], int]]:
    """The objects of a file, each with its line, and its length as text."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            value = error
        if not isinstance(value, dict):
            raise UserError(f"{path}: {_not_an_object(number, line, value)}")
        if "\\u" in line:
            _check_unicode(path, number, value)
        yield (number, value), len(line)


def _not_an_object(number: int, line: str, value: Any) -> str:
    if number == 1 and line.lstrip().startswith("["):
        return "holds a JSON array; write one object a line instead (jq -c '.[]' does)"
    where = f"line {number} is not one whole JSON object"
    if isinstance(value, json.JSONDecodeError):
        return f"{where}: {value.msg} at character {value.pos + 1}"
    return f"{where}: {value}" if isinstance(value, Exception) else f"{where} but {str(value)[:60]!r}"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _check_unicode(path: Path, line: int, value: dict[str, Any]) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: line {line} holds half of a character (a lone surrogate); write it whole") from error


def _array(values: list[Any]) -> pa.Array:
    """A column of JSON values; those of different kinds become texts, or lists of one text where some are nested."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        if any(isinstance(value, list | dict) for value in values):
            return pa.array([None if value is None else [json.dumps(value)] for value in values])
        return pa.array([None if value is None or value != value else str(value) for value in values], pa.string())
