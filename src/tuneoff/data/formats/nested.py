"""Values inside others, such as JSON's objects in objects: each is a column of its own, called `content.body`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BETWEEN = "."
JsonObject = dict[str, Any]
"""As `json` reads it."""
Item = tuple[str, Any]
"""A name in an object, and what it holds."""


def nested_names(objects: Iterable[JsonObject]) -> set[str]:
    """Names of what holds objects in some JSON objects, and nothing else, at any depth."""
    holding, other = set(), set()
    for name, item in (pair for value in objects for pair in _walked(value, "")):
        if isinstance(item, dict):
            holding.add(name)
        elif item is not None:
            other.add(name)
    return holding - other


def flat_object(value: JsonObject, nested: Set[str]) -> JsonObject:
    """A JSON object with what is inside of others beside them; lists stay as they are.

    Args:
        value: the object.
        nested: from `nested_names`; other objects stay as they are.

    Raises:
        ValueError: where a key inside an object is called like one beside it.
    """
    if nested.isdisjoint(value):
        return value
    found: JsonObject = {}
    for name, item in _flat(value, "", nested):
        if name in found:
            raise ValueError(f"the key {name!r} is there twice, inside an object and beside it; rename one")
        found[name] = item
    return found


def flat_table(table: pa.Table) -> pa.Table:
    """A table whose columns hold no others."""
    import pyarrow as pa

    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    return table


def _walked(value: JsonObject, before: str) -> Iterator[Item]:
    for key, item in value.items():
        name = f"{before}{key}"
        if not isinstance(item, dict):
            yield name, item
        elif item:
            yield name, item
            yield from _walked(item, f"{name}{BETWEEN}")


def _flat(value: JsonObject, before: str, nested: Set[str]) -> Iterator[Item]:
    for key, item in value.items():
        name = f"{before}{key}"
        if name not in nested:
            yield name, item
        elif isinstance(item, dict):
            yield from _flat(item, f"{name}{BETWEEN}", nested)
