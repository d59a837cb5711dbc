"""JSON: one object a line, or an array of objects. A key that an object lacks is missing there.

What holds an object in all of the first few thousand is taken apart: its keys are columns such as `content.body`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.core.texts import in_line
from tuneoff.data.formats.lines import MOST_CHARACTERS, OpenedFile, batched, opened_text, read_lines
from tuneoff.data.formats.nested import Item, JsonObject, flat_object, nested_names

if TYPE_CHECKING:
    import pyarrow as pa

SPACES = " \t\r\n"
PIECE = 1 << 20
"""Characters of an array that are read at once."""
SMALL = 1 << 24
"""Characters of a file that is read whole to say what it holds."""
ARRAY = "write its examples as an array of objects, or one object a line"


def open_json(path: Path, encoding: str) -> OpenedFile:
    """Opens JSON objects; the columns are the keys of the first few thousand.

    Raises:
        UserError: where the file holds something else, or an object has a key twice.
    """
    first = next(batched(_objects(path, encoding)), [])
    nested = nested_names(first)

    def flat(rows: list[JsonObject]) -> list[JsonObject]:
        try:
            return [flat_object(row, nested) for row in rows]
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error

    columns = tuple(dict.fromkeys(name for row in flat(first) for name in row))
    if not columns:
        raise UserError(f"{path}: is empty; {ARRAY}")

    def tables() -> Iterator[pa.Table]:
        import pyarrow as pa

        for batch in batched(_objects(path, encoding)):
            rows = flat(batch)
            arrays = [_array([row.get(name) for row in rows]) for name in columns]
            yield pa.Table.from_arrays(arrays, names=list(columns))

    return OpenedFile(columns, tables)


def _objects(path: Path, encoding: str) -> Iterator[tuple[JsonObject, int]]:
    """The objects of a file, each with its length as text."""
    with opened_text(path, encoding) as text:
        beginning = text.read(1)
        while beginning and beginning in SPACES:
            beginning = text.read(1)
    return _of_array(path, encoding) if beginning == "[" else _of_lines(path, encoding)


def _of_lines(path: Path, encoding: str) -> Iterator[tuple[JsonObject, int]]:
    for number, line in enumerate(read_lines(path, encoding), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            value = error
        if not isinstance(value, dict):
            raise UserError(f"{path}: {_not_an_object(path, encoding, number, value)}")
        _check_unicode(path, f"line {number}", line, value)
        yield value, len(line)


def _of_array(path: Path, encoding: str) -> Iterator[tuple[JsonObject, int]]:
    """Decodes one object after the other, so that an array need not fit into memory."""
    decoder = json.JSONDecoder(object_pairs_hook=_distinct)
    number = 0
    with opened_text(path, encoding) as text:
        left = text.read(PIECE).lstrip(SPACES)[1:]
        while True:
            left = left.lstrip(SPACES)
            if left.startswith("]"):
                if (left[1:] + text.read(PIECE)).strip(SPACES):
                    raise UserError(f"{path}: something follows the end of its array; {ARRAY}")
                return
            try:
                value, end = decoder.raw_decode(left)
                complete = left[end:].lstrip(SPACES)
                if not complete:  # a number may go on, and a comma or bracket has to follow
                    raise json.JSONDecodeError("the array is not closed", left, end)
            except (ValueError, RecursionError) as error:
                more = text.read(max(PIECE, len(left))) if _may_go_on(error, left) else ""
                if more:
                    left += more
                    continue
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise UserError(f"{path}: object {number + 1} of its array cannot be read: {reason}") from error
            number += 1
            if not isinstance(value, dict):
                raise UserError(f"{path}: item {number} of its array is no object but {str(value)[:60]!r}; {ARRAY}")
            if complete[0] not in ",]":
                raise UserError(f"{path}: a comma is missing after object {number} of its array")
            _check_unicode(path, f"object {number}", left[:end], value)
            yield value, end
            left = complete.removeprefix(",")


def _may_go_on(error: Exception, text: str) -> bool:
    """Whether what cannot be decoded may be the beginning of something longer."""
    return isinstance(error, json.JSONDecodeError) and len(text) < MOST_CHARACTERS


def _not_an_object(path: Path, encoding: str, number: int, value: Any) -> str:
    where = f"line {number} is not one whole JSON object"
    if isinstance(value, json.JSONDecodeError):
        whole = _whole_file(path, encoding)
        if isinstance(whole, dict):
            return f"holds a single object, with {in_line(list(whole))}; {ARRAY}"
        return f"{where}: {value.msg} at character {value.pos + 1}; {ARRAY}"
    return f"{where}: {value}" if isinstance(value, Exception) else f"{where} but {str(value)[:60]!r}; {ARRAY}"


def _whole_file(path: Path, encoding: str) -> Any:
    """What a small file holds if it is one JSON value."""
    with opened_text(path, encoding) as text:
        content = text.read(SMALL)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _distinct(pairs: list[Item]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _check_unicode(path: Path, where: str, text: str, value: JsonObject) -> None:
    if "\\u" not in text:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: {where} holds half of a character (a lone surrogate); write it whole") from error


def _array(values: list[Any]) -> pa.Array:
    """A column of JSON values; those of different kinds become texts, or lists of one text where some are nested."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        if any(isinstance(value, list | dict) for value in values):
            return pa.array([None if value is None else [json.dumps(value)] for value in values])
        return pa.array([None if value is None or value != value else str(value) for value in values], pa.string())
