"""Datasets as the library `datasets` has them: splits of one, and folders that it saved with `save_to_disk`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.data.conventions import SPLIT_WORDS, SPLITS
from tuneoff.data.source_table import BATCH_ROWS, SourceTable

if TYPE_CHECKING:
    import pyarrow as pa

SEVERAL_SPLITS = "dataset_dict.json"
ONE_SPLIT = "state.json"


def own_splits(paths: Sequence[Path]) -> dict[str, str]:
    """Which splits a folder of several has, and what it calls them; nothing for whatever else.

    Raises:
        UserError: where two stand for the same, or the folder cannot be read.
    """
    if not (paths[0] / SEVERAL_SPLITS).is_file():
        return {}
    found: dict[str, str] = {}
    for name in read_folder(paths[0]):
        split = SPLIT_WORDS.get(name.lower())
        if split is not None and found.setdefault(SPLITS[split], name) != name:
            raise UserError(
                f"{paths[0]}: its splits '{found[SPLITS[split]]}' and '{name}' mean the same; save one of them"
            )
    return dict(sorted(found.items(), key=lambda item: SPLITS.index(item[0])))


def read_folder(folder: Path) -> dict[str, Any]:
    """The datasets in a folder by name; one that stands alone is called `""`.

    Raises:
        UserError: where `datasets` did not save the folder, is not installed, or cannot read it.
    """
    if not any((folder / name).is_file() for name in (SEVERAL_SPLITS, ONE_SPLIT)):
        raise UserError(
            f"{folder}: is a folder, and not one that `datasets` saved; name its files, as '{folder}/*.csv' does"
        )
    try:
        from datasets import DatasetDict, load_from_disk
    except ModuleNotFoundError as error:
        raise UserError(f"{folder}: folders that `datasets` saved need an extra: pip install 'tuneoff[hub]'") from error
    try:
        loaded = load_from_disk(str(folder))
    except Exception as error:  # whatever the library meets in files that are missing or damaged
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder}: cannot be read as a folder that `datasets` saved: {reason}") from error
    return dict(loaded) if isinstance(loaded, DatasetDict) else {"": loaded}


def saved_table(datasets: dict[str, Any], where: str, split: str | None) -> SourceTable:
    """The dataset in a folder, or the split of it that is asked for; that of training where a column says so.

    Raises:
        UserError: where there is none.
    """
    wanted = split or "train"
    if "" in datasets:
        return dataset_table({wanted: datasets[""]}, where, wanted, split)
    name = next((name for name in datasets if SPLIT_WORDS.get(name.lower()) == SPLITS.index(wanted)), wanted)
    if split is None and len(datasets) > 1:
        raise UserError(f"{where}: has the splits {', '.join(datasets)} already; leave data.split out")
    return dataset_table(datasets, where, name, split)


def dataset_table(datasets: Any, where: str, name: str, split: str | None) -> SourceTable:
    """A split of a `datasets.DatasetDict`; its rows are read from disk as they are asked for.

    Raises:
        UserError: where there is no such split.
    """
    if name not in datasets:
        raise UserError(f"the dataset '{where}' has no split '{name}'; it has {', '.join(datasets)}")
    dataset = datasets[name].flatten()  # so that what is inside of other columns is one

    def tables() -> Iterator[pa.Table]:
        yield from dataset.with_format("arrow").iter(BATCH_ROWS)

    features = dataset.features.items()
    # Of lists the names are those of what is in them.
    named = {column: getattr(getattr(kind, "feature", kind), "names", None) for column, kind in features}
    class_names = {column: tuple(names) for column, names in named.items() if names}
    return SourceTable(split, f"{where} ({name})", tuple(dataset.column_names), tables, class_names)
