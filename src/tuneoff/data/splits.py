"""From what a source holds to the three splits of a study: de-duplicated, sampled, labelled 0, 1, ..."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from tuneoff.data.sources import RawData
    from tuneoff.spec import DataSpec

SPLITS = ("train", "validation", "test")
DEFAULT_HELD_OUT_SHARE = {"validation": 0.1, "test": 0.2}


@dataclass(frozen=True)
class Splits:
    """Frames with `text` (str), `label` (int, an index into `label_names`) and perhaps `breakdown` (str)."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    label_names: tuple[str, ...]
    removed: dict[str, int]
    """Rows that de-duplication took out, by split."""

    def items(self) -> list[tuple[str, pd.DataFrame]]:
        """The three frames by name."""
        return [(name, getattr(self, name)) for name in SPLITS]


def make_splits(raw: RawData, spec: DataSpec) -> Splits:
    """Makes the splits that every run of the study uses.

    De-duplication comes first, so that the sizes asked for are met without repeats. Validation is taken from
    training, never from test. A source without a test split gives a fifth of its rows to it.

    Raises:
        UserError: where there is one class only, a label is only in test, or too few rows.
    """
    parts = {name: frame for name in SPLITS if (frame := getattr(raw, name)) is not None}
    label_names = _index_labels(parts)
    removed = _deduplicate(parts) if spec.deduplicate else {}
    if "test" not in parts:
        parts["train"], parts["test"] = _hold_out(parts["train"], "test", spec.test_size, spec)
    else:
        parts["test"] = _take(parts["test"], spec.test_size, "test", spec)
    if "validation" not in parts:
        held_out = spec.validation_size
        if held_out is None and spec.train_size is not None:
            held_out = max(2, round(DEFAULT_HELD_OUT_SHARE["validation"] * spec.train_size))
            held_out = min(held_out, max(2, len(parts["train"]) - spec.train_size))
        parts["train"], parts["validation"] = _hold_out(parts["train"], "validation", held_out, spec)
    else:
        parts["validation"] = _take(parts["validation"], spec.validation_size, "validation", spec)
    parts["train"] = _take(parts["train"], spec.train_size, "train", spec)
    return Splits(parts["train"], parts["validation"], parts["test"], label_names, removed)


def _index_labels(parts: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """Replaces labels by indices in place and returns their names, in the order of their values."""
    import pandas as pd

    values = list(pd.unique(pd.concat([frame["label"] for frame in parts.values()])))
    numeric = all(isinstance(value, int | float) or hasattr(value, "dtype") for value in values)
    values = sorted(values) if numeric else sorted(values, key=str)
    if len(values) < 2:
        raise UserError(
            f"every label is '{values[0]}': a classifier needs examples of at least two classes "
            "(is data.label the right column?)"
        )
    if len(values) > 1000:
        raise UserError(f"there are {len(values)} different labels; data.label must be a class, not a free value")
    index = {value: position for position, value in enumerate(values)}
    for name, frame in parts.items():
        parts[name] = frame.assign(label=frame["label"].map(index).astype("int64"))
    trained = set(parts["train"]["label"])
    for name, frame in parts.items():
        unseen = sorted(set(frame["label"]) - trained)
        if unseen and len(trained) > 1:
            raise UserError(f"the label '{values[unseen[0]]}' is in {name} but never in train")
    return tuple(str(value) for value in values)


def _deduplicate(parts: dict[str, pd.DataFrame]) -> dict[str, int]:
    """Keeps the first of each text within a split, and no text of train or validation that test or train holds."""
    removed = {}
    seen: set[str] = set()
    for name in SPLITS:
        if name not in parts:
            continue
        key = parts[name]["text"].str.strip()
        fresh = ~key.duplicated() & ~key.isin(seen)
        seen |= set(key)
        removed[name] = int((~fresh).sum())
        parts[name] = parts[name][fresh].reset_index(drop=True)
    return removed


def _hold_out(frame: pd.DataFrame, name: str, size: int | None, spec: DataSpec) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Parts `frame` into the rest and `size` held-out rows (stratified, or the last rows with `sampling = first`)."""
    if size is None:
        size = max(2, round(DEFAULT_HELD_OUT_SHARE[name] * len(frame)))
    if size >= len(frame):
        raise UserError(f"{size} examples for {name} cannot be taken from {len(frame)} rows of training data")
    if spec.sampling == "first" and spec.train_size is not None:
        end = min(spec.train_size + size, len(frame))
        return frame.iloc[: end - size], frame.iloc[end - size : end].reset_index(drop=True)
    chosen = _stratified(frame, size, f"{name}_size", spec.split_seed)
    held_out = frame.loc[chosen].reset_index(drop=True)
    return frame.drop(index=chosen).reset_index(drop=True), held_out


def _take(frame: pd.DataFrame, size: int | None, name: str, spec: DataSpec) -> pd.DataFrame:
    if size is None or size == len(frame):
        return frame
    if size > len(frame):
        raise UserError(f"data.{name}_size = {size}, but only {len(frame)} rows are left for {name}")
    if spec.sampling == "first":
        return frame.iloc[:size].reset_index(drop=True)
    return frame.loc[_stratified(frame, size, f"{name}_size", spec.split_seed)].reset_index(drop=True)


def _stratified(frame: pd.DataFrame, size: int, option: str, seed: int) -> list[int]:
    """Row labels of a sample in which each class keeps its share; the sample is in random order."""
    from sklearn.model_selection import train_test_split

    try:
        chosen, _ = train_test_split(
            list(frame.index), train_size=size, stratify=frame["label"].to_numpy(), random_state=seed
        )
    except ValueError as error:
        raise UserError(
            f"data.{option}: {size} of {len(frame)} rows cannot be drawn with every class in it: {error}"
        ) from error
    return list(chosen)
