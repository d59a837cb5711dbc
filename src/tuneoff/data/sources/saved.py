"""Folders that `datasets` saved with `save_to_disk`: a dataset, or several splits of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneoff.core.errors import UserError
from tuneoff.data.conventions import SPLIT_WORDS, SPLITS
from tuneoff.data.sources import Part
from tuneoff.data.sources.hub import dataset_part

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


def saved_part(datasets: dict[str, Any], where: str, split: str | None) -> Part:
    """The dataset in a folder, or the split of it that is asked for; that of training where a column says so.

    Raises:
        UserError: where there is none.
    """
    wanted = split or "train"
    if "" in datasets:
        return dataset_part({wanted: datasets[""]}, where, wanted, split)
    name = next((name for name in datasets if SPLIT_WORDS.get(name.lower()) == SPLITS.index(wanted)), wanted)
    if split is None and len(datasets) > 1:
        raise UserError(f"{where}: has the splits {', '.join(datasets)} already; leave data.split out")
    return dataset_part(datasets, where, name, split)
