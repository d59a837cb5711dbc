"""What kinds of files are read, and how they are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tuneoff.data.formats.spec import FormatSpec

Kind = Literal["csv", "json", "parquet", "fasttext"]

KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
"""By what a file's name ends in, before `.gz` where it is gzipped."""
SEPARATED_BY = {".tsv": "\t"}
COMMA = ","
PARQUET_MARK = b"PAR1"


def kind_of(path: Path, spec: FormatSpec) -> Kind | None:
    """As what a file is read; a separator says that it is lines of cells, where its name says nothing."""
    return spec.kind or KINDS.get(ending(path)) or (None if spec.separator is None else "csv")


def separator_of(path: Path, spec: FormatSpec) -> str:
    """What separates the cells of a file that has such."""
    return spec.separator or SEPARATED_BY.get(ending(path), COMMA)


def ending(path: Path) -> str:
    """What a file's name ends in, in small letters, before `.gz` where it is gzipped."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")
