"""Values inside others, such as JSON's objects in objects: each is a column of its own, called `content.body`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BETWEEN = "."


def flat_object(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object without objects inside; lists stay as they are, and an empty object is a missing value.

    Raises:
        ValueError: where a key inside an object is called like one beside it.
    """
    if not any(isinstance(item, dict) for item in value.values()):
        return value
    found: dict[str, Any] = {}
    for name, item in value.items():
        inside = {f"{name}{BETWEEN}{key}": part for key, part in flat_object(item).items()} if _filled(item) else None
        for key, part in (inside or {name: None if item == {} else item}).items():
            if key in found:
                raise ValueError(f"the key {key!r} is there twice, inside an object and beside it")
            found[key] = part
    return found


def flat_table(table: pa.Table) -> pa.Table:
    """A table whose columns hold no others."""
    import pyarrow as pa

    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    return table


def _filled(item: Any) -> bool:
    return isinstance(item, dict) and bool(item)
