"""Opens single files by what their names end in; Parquet is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.data.sources import BATCH_ROWS
from tuneoff.data.sources.json_lines import open_json_lines
from tuneoff.data.sources.lines import BATCH_CHARACTERS, OpenedFile, explaining
from tuneoff.data.sources.separated import open_csv, open_tsv
from tuneoff.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_BUFFER = 1 << 20
PARQUET_MARK = b"PAR1"


def open_file(path: Path) -> OpenedFile:
    """Opens a file as what its name ends in.

    Raises:
        UserError: where the ending is unknown or the file has no beginning of its kind; later faults are raised
            while its tables are read.
    """
    opener = OPENERS.get(format_of(path))
    if opener is None:
        hint = " (JSON with one object a line is called .jsonl)" if path.suffix.lower() == ".json" else ""
        raise UserError(f"{path}: files may be {', '.join(OPENERS)}, not '{path.suffix}'{hint}")
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path}: is a link that leads nowhere")
    if not path.is_file():
        raise UserError(f"{path}: is not a file")
    return opener(path)


def format_of(path: Path) -> str:
    """What a file's name ends in, in small letters, with `.gz` where it is that too."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return "".join(suffixes if suffixes[-1:] == [".gz"] else suffixes[-1:])


def _open_parquet(path: Path) -> OpenedFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with explaining(path), path.open("rb") as file:
        if file.read(4) != PARQUET_MARK:
            raise UserError(f"{path}: is not a Parquet file")
        file.seek(-4, 2)
        if file.read(4) != PARQUET_MARK:
            raise UserError(f"{path}: is cut short: the end of the Parquet file is missing; write or fetch it again")
    with explaining(path), pq.ParquetFile(path) as parquet:
        columns = tuple(parquet.schema_arrow.names)
        groups = [parquet.metadata.row_group(index) for index in range(parquet.metadata.num_row_groups)]
    widest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)

    def tables() -> Iterator[pa.Table]:
        rows = min(BATCH_ROWS, max(1, BATCH_CHARACTERS // max(widest, 1)))
        with explaining(path), pq.ParquetFile(path, buffer_size=PARQUET_BUFFER) as parquet:
            for batch in parquet.iter_batches(rows):
                batch.validate(full=True)
                yield pa.Table.from_batches([batch])

    return OpenedFile(columns, tables)


OPENERS: dict[str, Callable[[Path], OpenedFile]] = {
    ".csv": open_csv,
    ".csv.gz": open_csv,
    ".tsv": open_tsv,
    ".tsv.gz": open_tsv,
    ".jsonl": open_json_lines,
    ".jsonl.gz": open_json_lines,
    ".ndjson": open_json_lines,
    ".ndjson.gz": open_json_lines,
    ".parquet": _open_parquet,
}
