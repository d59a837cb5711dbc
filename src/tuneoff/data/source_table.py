"""What a data source hands on: tables of rows that are read piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 4096
FILE, FIRST_ROW = b"tuneoff.file", b"tuneoff.first_row"
"""What the metadata of a table's schema says of its rows where a source table has several files."""


@dataclass(frozen=True)
class SourceTable:
    """A file, several of a kind, or a split of a dataset.

    It yields its rows as Arrow tables of some thousand, as often as it is asked to, so that it need not fit in memory.

    Attributes:
        split: "train", "validation" or "test"; None where a column says which, row by row.
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

    def locate(self, table: pa.Table, before: int) -> tuple[str, range]:
        """Where the rows of a table are in what the user has: the file, and their numbers there.

        Rows are numbered from 1; a header and blank lines are no rows.

        Args:
            table: as it was yielded.
            before: how many rows were yielded before it.
        """
        known = table.schema.metadata or {}
        first = int(known.get(FIRST_ROW, before + 1))
        return known[FILE].decode() if FILE in known else self.where, range(first, first + len(table))


def numbered(tables: Iterator[pa.Table], file: str) -> Iterator[pa.Table]:
    """The tables of one file of several, each of which then knows its file and the number of its first row there."""
    first = 1
    name = file.encode("utf-8", "backslashreplace")
    for table in tables:
        yield table.replace_schema_metadata({**(table.schema.metadata or {}), FILE: name, FIRST_ROW: str(first)})
        first += len(table)
