"""How labelled rows are written: lines of cells, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.core.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

Encode = Callable[["pa.Table"], bytes]
"""Rows to what is appended to a file."""
PARQUET = ".parquet"
ENDINGS = (".csv", ".tsv", ".jsonl", PARQUET)


def ending_of(path: Path) -> str:
    """In which format a file is written, by what its name ends in.

    Raises:
        UserError: where that is none.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"--out {path}: its name must end in one of {', '.join(ENDINGS)}")
    return path.suffix.lower()


def cells(separator: str) -> Encode:
    """Lines of cells, without a header; what is missing is an empty cell."""

    def encode(table: pa.Table) -> bytes:
        return _lines(zip(*(column.to_pylist() for column in table.columns), strict=True), separator)

    return encode


def header(columns: Sequence[str], separator: str) -> bytes:
    """The line that names columns."""
    return _lines([columns], separator)


def json_lines(table: pa.Table) -> bytes:
    """An object a line; what is missing is null."""
    rows = ({name: _json_value(value) for name, value in row.items()} for row in table.to_pylist())
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode()


def arrow(table: pa.Table) -> bytes:
    """An Arrow stream, one of those that `parquet_of` reads one after the other."""
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet_of(streams: Path, out: Path) -> None:
    """Writes a Parquet file of Arrow streams that follow each other in a file.

    A column that has different types in different pieces, as JSON may have, becomes texts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = list(dict.fromkeys(_plain(table.schema) for table in _tables(streams)))
    schema = _common(schemas)
    with replacing(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for table in _tables(streams):
            arrays = [_cast(table.column(field.name), field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _tables(streams: Path) -> Iterator[pa.Table]:
    import pyarrow as pa

    with pa.OSFile(str(streams), "rb") as file:
        while file.tell() < file.size():
            with pa.ipc.open_stream(file) as reader:
                yield reader.read_all()


def _plain(schema: pa.Schema) -> pa.Schema:
    return schema.remove_metadata()


def _common(schemas: Sequence[pa.Schema]) -> pa.Schema:
    import pyarrow as pa

    fields = []
    for name in schemas[0].names:
        kinds = dict.fromkeys(kind for schema in schemas if not pa.types.is_null(kind := schema.field(name).type))
        fields.append(pa.field(name, next(iter(kinds)) if len(kinds) == 1 else pa.string()))
    return pa.schema(fields)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa

    if column.type == kind:
        return column
    if pa.types.is_null(column.type):
        return column.cast(kind)
    return pa.chunked_array([pa.array([_cell(value) or None for value in column.to_pylist()], kind)])


def _lines(rows: Any, separator: str) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=separator, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return sink.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value if isinstance(value, str) else str(value)


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value
