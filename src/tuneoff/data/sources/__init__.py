"""Where examples come from: one module a source, each with `open_parts` and `fingerprint`.

A part yields its rows as Arrow tables of some thousand, as often as it is asked to, so that a source need not fit in
memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.spec import Data, DataSpec

BATCH_ROWS = 4096
FILE, FIRST_ROW = b"tuneoff.file", b"tuneoff.first_row"
"""What the metadata of a table's schema says of its rows where a part has several files."""


@dataclass(frozen=True)
class Part:
    """A file, several of a kind, or a split of a dataset.

    Attributes:
        split: "train", "validation" or "test"; None where a column of the part says which, row by row.
        where: what messages call it.
        columns: the names of its columns, in order.
        tables: reads it from its beginning; every table has those columns.
        class_names: what the integers of a column mean, by column, where the source says so.
        header: whether a line of a file names the columns, which may be missing.
    """

    split: str | None
    where: str
    columns: tuple[str, ...]
    tables: Callable[[], Iterator[pa.Table]]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    header: bool = False

    def places(self, table: pa.Table, before: int) -> tuple[str, range]:
        """Where the rows of a table are in what the user has: the file, and their numbers there.

        Rows are numbered from 1; a header and blank lines are no rows.

        Args:
            table: as it was yielded.
            before: how many rows were yielded before it.
        """
        known = table.schema.metadata or {}
        first = int(known.get(FIRST_ROW, before + 1))
        return known[FILE].decode() if FILE in known else self.where, range(first, first + len(table))


class SourceModule(Protocol):
    """What a module of this package offers."""

    def open_parts(self, spec: Any) -> list[Part]:
        """The parts that `[data]` names, the one to train on first.

        Raises:
            UserError: where one is missing or unreadable; also while its rows are read.
        """

    def fingerprint(self, spec: Any) -> Any:
        """A JSON value that changes when the source's content does; cheaper than reading it."""


def numbered(tables: Iterator[pa.Table], file: str) -> Iterator[pa.Table]:
    """The tables of one file of several, each of which then knows its file and the number of its first row there."""
    first = 1
    name = file.encode("utf-8", "backslashreplace")
    for table in tables:
        yield table.replace_schema_metadata({**(table.schema.metadata or {}), FILE: name, FIRST_ROW: str(first)})
        first += len(table)


def open_parts(spec: Data | DataSpec) -> list[Part]:
    """The parts of the source that `[data]` names, the one to train on first.

    Raises:
        UserError: where one is missing or unreadable.
    """
    return _module(spec).open_parts(spec)


def source_fingerprint(spec: Data | DataSpec) -> Any:
    """A JSON value that changes when the source's content does; cheaper than loading it."""
    return _module(spec).fingerprint(spec)


def _module(spec: Data | DataSpec) -> SourceModule:
    return importlib.import_module(f"{__name__}.{spec.source}")
