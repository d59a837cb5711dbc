"""What two studies must have in common to be compared, and what else differs between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from tuneoff.analysis.conditions import costs_key
from tuneoff.core.errors import UserError, damaged
from tuneoff.data.parts import part_names, split_path
from tuneoff.records.compared import SettingDifference
from tuneoff.records.run import RunResult, ScoredRun

if TYPE_CHECKING:
    import pandas as pd

    from tuneoff.analysis.results import StudyResults

COMPARED_SPLITS = ("test", "train", "validation")
MEASURED = ("device", "precision", "parallel")
"""Settings that are compared by what runs say they had, not by what was asked for."""


def check_same_data(a: StudyResults, b: StudyResults, name: str) -> None:
    """Refuses two studies that were not trained and tested on the same examples in the same order.

    Args:
        a: the first of the studies that are compared, A.
        b: another one.
        name: what that one is called.

    Raises:
        UserError: one line that says what differs, and where.
    """
    names = [", ".join(results.prepared.label_names) for results in (a, b)]
    if names[0] != names[1]:
        raise _refusal(
            a, b, name, f"their classes differ: {_shortened(names[0])} in A, {_shortened(names[1])} in {name}"
        )
    folds = [results.spec.data.folds for results in (a, b)]
    if folds[0] != folds[1]:
        counts = " and ".join("no folds" if count is None else f"{count} folds" for count in folds)
        raise _refusal(a, b, name, f"they split the data differently: {counts} (data.folds)")
    for part_a, part_b in zip(main_parts(a), main_parts(b), strict=True):
        for split in COMPARED_SPLITS:
            paths = [
                results.folder / "data" / f"{split_path(part, split)}.parquet"
                for results, part in ((a, part_a), (b, part_b))
            ]
            difference = _difference(_examples(paths[0]), _examples(paths[1]), name)
            if difference is not None:
                raise _refusal(a, b, name, f"their {split} examples differ: {difference} (data/{paths[0].name})")


def main_parts(results: StudyResults) -> tuple[str, ...]:
    """The parts of the data that a study's accuracies are about: all folds, or the largest training size."""
    parts = part_names(results.spec.data)
    return parts if results.spec.data.folds is not None else parts[:1]


def settings(results: StudyResults) -> dict[str, JsonValue]:
    """What a study was told of texts and training, by the names of the study file, except for what runs measure."""
    training = {
        f"training.{name}": value
        for name, value in results.spec.training.model_dump(mode="json").items()
        if name not in MEASURED
    }
    tuning = {f"tuning.{name}": value for name, value in results.spec.tuning.model_dump(mode="json").items()}
    data = {f"data.{name}": getattr(results.spec.data, name) for name in ("max_length", "long_texts")}
    return {**data, **training, **tuning}


def model_differences(a: StudyResults, b: StudyResults) -> list[SettingDifference]:
    """The models where their files differ, wherever they are; or the tokens, where those of one model differ."""
    if a.prepared.model_fingerprint != b.prepared.model_fingerprint:
        names = [results.spec.model.id for results in (a, b)]
        if names[0] == names[1]:
            names = [f"{results.spec.model.id} (files {results.prepared.model_fingerprint[:8]})" for results in (a, b)]
        return [SettingDifference(setting="model.id", a=names[0], b=names[1])]
    tokens = [[results.prepared.part(part).fingerprint[:8] for part in main_parts(results)] for results in (a, b)]
    if tokens[0] != tokens[1]:
        return [SettingDifference(setting="tokens", a=", ".join(tokens[0]), b=", ".join(tokens[1]))]
    return []


def conditions(runs: Iterable[RunResult]) -> dict[str, str]:
    """Under what conditions successful runs were measured; several values are joined where they were not alike."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if isinstance(run, ScoredRun):
            for name, value in costs_key(run).items():
                found.setdefault(name, set()).add(value)
    return {name: ", ".join(sorted(values)) for name, values in found.items()}


def differing(a: Mapping[str, JsonValue], b: Mapping[str, JsonValue]) -> list[SettingDifference]:
    """The entries that are not equal; None stands for one that is absent."""
    return [
        SettingDifference(setting=name, a=a.get(name), b=b.get(name))
        for name in [*a, *(name for name in b if name not in a)]
        if a.get(name) != b.get(name)
    ]


def _refusal(a: StudyResults, b: StudyResults, name: str, why: str) -> UserError:
    return UserError(f"{a.folder} (A) and {b.folder} ({name}) cannot be compared: {why}")


def _examples(path: Path) -> pd.DataFrame:
    """A split's `key` (hash of the text) and `label`, row by row."""
    import pandas as pd

    try:
        return pd.read_parquet(path, columns=["key", "label"])
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def _difference(a: pd.DataFrame, b: pd.DataFrame, name: str) -> str | None:
    """How the examples of two splits differ; None where they do not."""
    if a.equals(b):
        return None
    if len(a) == len(b) and (a["key"] == b["key"]).all():
        return f"{int((a['label'] != b['label']).sum())} of {len(a)} have another label"
    counts = [frame["key"].value_counts() for frame in (a, b)]
    shared = int(counts[0].combine(counts[1], min, fill_value=0).sum())
    if shared == len(a) == len(b):
        return "they are the same, but in another order"
    return f"{len(a)} in A, {len(b)} in {name}, {shared} of them in both"


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
