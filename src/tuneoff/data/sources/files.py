"""Local files: CSV, TSV, JSON Lines and Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.data.sources import RawData, by_split_column, select_columns
from tuneoff.errors import UserError
from tuneoff.files import file_hash
from tuneoff.spec import FilesData

if TYPE_CHECKING:
    import pandas as pd


def load(spec: FilesData) -> RawData:
    train = _read(spec.train)
    columns = _columns(train, spec.train, spec)
    if spec.split is not None:
        if spec.split not in train.columns:
            known = ", ".join(str(name) for name in train.columns)
            raise UserError(f"{spec.train}: there is no column '{spec.split}' (data.split); its columns are {known}")
        return by_split_column(columns, train[spec.split], spec.train)
    others = {
        name: _columns(_read(path), path, spec) if path else None
        for name, path in (("validation", spec.validation), ("test", spec.test))
    }
    return RawData(columns, others["validation"], others["test"])


def fingerprint(spec: FilesData) -> Any:
    paths = [path for path in (spec.train, spec.validation, spec.test) if path]
    return [file_hash(_existing(path)) for path in paths]


def _columns(frame: pd.DataFrame, path: str, spec: FilesData) -> pd.DataFrame:
    return select_columns(frame, path, spec.text, spec.label, spec.breakdown)


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        raise UserError(f"{name} is a folder, not a data file")
    if not path.is_file():
        raise UserError(f"there is no file '{name}' (looked in {Path.cwd()})")
    return path


def _read(name: str) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": lambda path: pd.read_csv(path, encoding="utf-8"),
        ".tsv": lambda path: pd.read_csv(path, sep="\t", encoding="utf-8"),
        ".jsonl": lambda path: pd.read_json(path, lines=True, encoding="utf-8"),
        ".parquet": pd.read_parquet,
    }
    path = _existing(name)
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{name}: files may be {', '.join(readers)}, not '{path.suffix}'")
    try:
        return reader(path)
    except (ValueError, OSError, pa.ArrowInvalid) as error:  # pandas' parser errors are ValueErrors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{name}: cannot be read as {path.suffix[1:].upper()}: {reason}") from error
