"""Local files: lines of cells, JSON, Parquet, fastText, plain or gzipped, and folders that `datasets` saved."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.core.files import expanded, file_hash
from tuneoff.core.texts import in_line
from tuneoff.data.headers import no_header
from tuneoff.data.sources import Part, numbered
from tuneoff.data.sources.readers import open_file
from tuneoff.data.sources.saved import own_splits, read_folder, saved_part
from tuneoff.spec.data import FilesData, FormatSpec

if TYPE_CHECKING:
    import pyarrow as pa

WILDCARDS = "*?["


def open_parts(spec: FilesData) -> list[Part]:
    if spec.split is not None:
        return [open_pattern(None, spec.train, spec)]
    named = {"train": spec.train, "validation": spec.validation, "test": spec.test}
    if spec.validation is None and spec.test is None:
        named |= dict.fromkeys(own_splits(existing(spec.train)), spec.train)
    return [open_pattern(split, pattern, spec) for split, pattern in named.items() if pattern]


def fingerprint(spec: FilesData) -> Any:
    patterns = [pattern for pattern in (spec.train, spec.validation, spec.test) if pattern]
    return [[file_hash(path) for path in _contents(existing(pattern))] for pattern in patterns]


def open_pattern(split: str | None, pattern: str, spec: FilesData) -> Part:
    """The files that a path or glob pattern names, or the folder, as one part.

    Args:
        split: of which split its rows are; None where a column says so.
        pattern: as the study has it.
        spec: says how files are written.

    Raises:
        UserError: where there are none, or they cannot be read.
    """
    paths = existing(pattern)
    if paths[0].is_dir():
        return saved_part(read_folder(paths[0]), pattern, split)
    return open_files(split, pattern, paths, spec.format)


def existing(pattern: str) -> list[Path]:
    """The files or the folder that a path or a glob pattern names, in alphabetical order.

    Raises:
        UserError: where there are none.
    """
    path = expanded(pattern)
    if path.exists() or path.is_symlink():
        return [path]
    if any(character in pattern for character in WILDCARDS):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207  (takes absolute ones)
        files = [name for name in found if not name.is_dir()]
        if files:
            return files
        raise UserError(f"no file is named like '{pattern}' (looked in {Path.cwd()})")
    raise UserError(f"there is no file '{pattern}' (looked in {Path.cwd()})")


def open_files(split: str | None, where: str, paths: Sequence[Path], spec: FormatSpec) -> Part:
    """Some files with the same columns as one part.

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

    return Part(split, where, columns, tables, header=any(file.header for file in opened))


def _contents(paths: Sequence[Path]) -> list[Path]:
    return [
        file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()
    ]
