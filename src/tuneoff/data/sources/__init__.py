"""Where examples come from: one module a source, each with `load` and `fingerprint`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from tuneoff.spec import Data


@dataclass(frozen=True)
class RawData:
    """What a source holds: frames with columns `text`, `label` and, where asked for, `breakdown`.

    `validation` and `test` are None where the source has none of its own.
    """

    train: pd.DataFrame
    validation: pd.DataFrame | None
    test: pd.DataFrame | None


def load_source(spec: Data) -> RawData:
    """Reads everything that `[data]` names.

    Raises:
        UserError: where a file, a column or a dataset is missing or unreadable.
    """
    raw: RawData = _module(spec).load(spec)
    return raw


def source_fingerprint(spec: Data) -> Any:
    """A JSON value that changes when the source's content does; cheaper than loading it."""
    return _module(spec).fingerprint(spec)


def _module(spec: Data) -> Any:
    return importlib.import_module(f"{__name__}.{spec.source}")


def select_columns(frame: pd.DataFrame, where: str, text: str, label: str, breakdown: str | None) -> pd.DataFrame:
    """Renames the chosen columns to `text`, `label` and `breakdown`, with texts as plain strings.

    Raises:
        UserError: where a column is absent, the frame is empty, or a text or label is missing.
    """
    for option, column in (("text", text), ("label", label), ("breakdown", breakdown)):
        if column is not None and column not in frame.columns:
            known = ", ".join(str(name) for name in frame.columns)
            raise UserError(f"{where}: there is no column '{column}' (data.{option}); its columns are {known}")
    if frame.empty:
        raise UserError(f"{where}: there are no rows")
    chosen = {"text": frame[text], "label": frame[label]}
    if breakdown is not None:
        chosen["breakdown"] = frame[breakdown].astype(str)
    for name, values in chosen.items():
        missing = int(values.isna().sum())
        if missing:
            raise UserError(f"{where}: {missing} of {len(frame)} rows have no {name}; fill them in or remove them")
    import pandas as pd

    selected = pd.DataFrame(chosen).reset_index(drop=True)
    selected["text"] = selected["text"].astype(str)
    empty = int((selected["text"].str.strip() == "").sum())
    if empty:
        raise UserError(f"{where}: {empty} of {len(frame)} rows have an empty text; fill them in or remove them")
    return selected


def by_split_column(frame: pd.DataFrame, split: pd.Series, where: str) -> RawData:
    """Parts a frame by a column that says train, validation (or dev, val) or test.

    Raises:
        UserError: for other values, or where nothing is marked train or test.
    """
    names = {
        "train": "train",
        "validation": "validation",
        "valid": "validation",
        "val": "validation",
        "dev": "validation",
        "test": "test",
    }
    part = split.astype(str).str.strip().str.lower().map(names)
    if part.isna().any():
        value = split[part.isna()].iloc[0]
        raise UserError(f"{where}: the split column says '{value}'; it may say train, validation or test")
    parts = {name: frame[part == name].reset_index(drop=True) for name in ("train", "validation", "test")}
    for name in ("train", "test"):
        if parts[name].empty:
            raise UserError(f"{where}: the split column marks no row as {name}")
    return RawData(parts["train"], None if parts["validation"].empty else parts["validation"], parts["test"])
