"""Local files: lines of cells, JSON, Parquet, fastText, plain or gzipped, and folders that `datasets` saved."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from tuneoff.core.errors import UserError
from tuneoff.core.files import expanded, file_hash
from tuneoff.data.formats.readers import open_files
from tuneoff.data.formats.saved import own_splits, read_folder, saved_table
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.source_table import SourceTable
from tuneoff.spec.data import DataSpec

WILDCARDS = "*?["


class FilesData(DataSpec):
    """Files of cells, JSON or Parquet, or folders that `datasets` saved; each a path or a glob pattern."""

    source: Literal["files"]
    train: str = Field(min_length=1)
    test: str | None = None
    validation: str | None = None
    format: FormatSpec = FormatSpec()

    @model_validator(mode="after")
    def _one_way_to_split(self) -> FilesData:
        if self.split and (self.test or self.validation):
            raise ValueError("give either a split column or files for test and validation, not both")
        return self

    @property
    def paths(self) -> list[Path]:
        """All files and folders that are named, those of train first.

        Raises:
            UserError: where there are none of a name.
        """
        return [path for pattern in self._patterns for path in existing(pattern)]

    def open_tables(self) -> list[SourceTable]:
        if self.split is not None:
            return [self._open(None, self.train)]
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        if self.validation is None and self.test is None:
            named |= dict.fromkeys(own_splits(existing(self.train)), self.train)
        return [self._open(split, pattern) for split, pattern in named.items() if pattern]

    def fingerprint(self) -> Any:
        return [[file_hash(path) for path in _contents(existing(pattern))] for pattern in self._patterns]

    @property
    def _patterns(self) -> list[str]:
        return [pattern for pattern in (self.train, self.validation, self.test) if pattern]

    def _open(self, split: str | None, pattern: str) -> SourceTable:
        """The files that a path or glob pattern names, or the folder, as one table.

        Args:
            split: of which split its rows are; None where a column says so.
            pattern: as the study has it.

        Raises:
            UserError: where there are none, or they cannot be read.
        """
        paths = existing(pattern)
        if paths[0].is_dir():
            return saved_table(read_folder(paths[0]), pattern, split)
        return open_files(split, pattern, paths, self.format)


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


def _contents(paths: Sequence[Path]) -> list[Path]:
    return [
        file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()
    ]
