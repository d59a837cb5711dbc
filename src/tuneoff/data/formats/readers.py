"""Opens files by what the study says of them, or by what their names end in; Parquet is read here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.core.texts import in_line
from tuneoff.data.formats.detect import settings_that_read
from tuneoff.data.formats.fasttext import open_fasttext
from tuneoff.data.formats.json_objects import open_json
from tuneoff.data.formats.kinds import KINDS, PARQUET_MARK, kind_of, separator_of
from tuneoff.data.formats.lines import BATCH_CHARACTERS, OpenedFile, explaining
from tuneoff.data.formats.nested import flat_table
from tuneoff.data.formats.other_kinds import HEAD, other_kind
from tuneoff.data.formats.raw import opened_bytes
from tuneoff.data.formats.separated import open_separated
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.headers import no_header
from tuneoff.data.source_table import BATCH_ROWS, SourceTable, numbered

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_BUFFER = 1 << 20


def open_file(path: Path, spec: FormatSpec) -> OpenedFile:
    """Opens a file as the study says it is, or as what its name ends in.

    Raises:
        UserError: where its kind is not known or the file has no beginning of its kind; later faults are raised
            while its tables are read.
    """
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path}: is a link that leads nowhere")
    if not path.is_file():
        raise UserError(f"{path}: is not a file")
    kind = kind_of(path, spec)
    if kind is None:
        raise UserError(f"{path}: {_unknown(path)}")
    if kind == "parquet":
        return _open_parquet(path)
    if kind == "json":
        return open_json(path, spec.encoding)
    if kind == "fasttext":
        return open_fasttext(path, spec.encoding)
    return open_separated(path, separator_of(path, spec), spec)


def open_files(split: str | None, where: str, paths: Sequence[Path], spec: FormatSpec) -> SourceTable:
    """Some files with the same columns as one table.

    Raises:
        UserError: where one cannot be read, or has other columns than the first.
    """
    opened = [open_file(path, spec) for path in paths]
    columns = opened[0].columns
    for path, file in zip(paths, opened, strict=True):
        if sorted(file.columns) != sorted(columns):
            raise UserError(
                f"{path}: its columns are {in_line(file.columns)}, but those of {paths[0]} are {in_line(columns)}; "
                f"the files of '{where}' must have the same{no_header(file.columns) if file.header else ''}"
            )

    def tables() -> Iterator[pa.Table]:
        for path, file in zip(paths, opened, strict=True):
            for table in numbered(file.tables(), where if len(paths) == 1 else str(path)):
                yield table if file.columns == columns else table.select(columns)

    return SourceTable(split, where, columns, tables, header=any(file.header for file in opened))


def _unknown(path: Path) -> str:
    """What to do about a file whose name does not say what it is."""
    with explaining(path), opened_bytes(path) as binary:
        other = other_kind(binary.peek(HEAD)[:HEAD], path)
    if other is not None:
        return other
    settings = settings_that_read(path)
    ends = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
    how = "data.format.kind or data.format.separator" if settings is None else f"data.format = {settings}, probably"
    return f"its name {ends}, which is none of {', '.join(KINDS)}; say what it is with {how}"


def _open_parquet(path: Path) -> OpenedFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with explaining(path), path.open("rb") as file:
        if file.read(4) != PARQUET_MARK:
            file.seek(0)
            raise UserError(f"{path}: is not a Parquet file{_instead(file.read(HEAD), path)}")
        file.seek(-4, 2)
        if file.read(4) != PARQUET_MARK:
            raise UserError(f"{path}: is cut short: the end of the Parquet file is missing; write or fetch it again")
    with explaining(path), pq.ParquetFile(path) as parquet:
        columns = tuple(flat_table(parquet.schema_arrow.empty_table()).column_names)
        groups = [parquet.metadata.row_group(index) for index in range(parquet.metadata.num_row_groups)]
    widest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)

    def tables() -> Iterator[pa.Table]:
        rows = min(BATCH_ROWS, max(1, BATCH_CHARACTERS // max(widest, 1)))
        with explaining(path), pq.ParquetFile(path, buffer_size=PARQUET_BUFFER) as parquet:
            for batch in parquet.iter_batches(rows):
                batch.validate(full=True)
                yield flat_table(pa.Table.from_batches([batch]))

    return OpenedFile(columns, tables)


def _instead(head: bytes, path: Path) -> str:
    """What a file is that is called Parquet."""
    other = other_kind(head, path)
    if other is not None:
        return f": it {other}"
    return ", but seems to be text; set data.format.kind to 'csv' or 'json'" if head and b"\0" not in head else ""
