"""The parts of a study's data: the whole, or folds of it, or training sizes. A run belongs to one part.

A part has three splits. Folds take turns at testing: each unit (see `tuneoff.data.units`) is tested in one of them and
trained on in the others. Training sizes share validation and test, and each holds the next smaller one. The first part
is the one that a study without folds or sizes comes nearest to: fold 0, or the largest size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.core.errors import UserError
from tuneoff.core.long_texts import LongTexts
from tuneoff.data.rows import Rows
from tuneoff.data.splits import Splits, check_learnable, complete, given, make_splits, take
from tuneoff.data.units import Units

if TYPE_CHECKING:
    from tuneoff.spec import DataSpec

WHOLE = ""
FOLD, SIZE = "fold-", "train-"
"""What the names of folds (`fold-0`) and training sizes (`train-300`) start with."""


def part_names(spec: DataSpec) -> tuple[str, ...]:
    """The parts of a study's data; folds in order, sizes from the largest on."""
    if spec.folds is not None:
        return tuple(f"{FOLD}{fold}" for fold in range(spec.folds))
    if spec.train_sizes is not None:
        return tuple(size_name(size) for size in reversed(spec.train_sizes))
    return (WHOLE,)


def size_name(train_size: int) -> str:
    """The part of a training size."""
    return f"{SIZE}{train_size}"


def is_fold(part: str) -> bool:
    """Whether a part is a fold."""
    return part.startswith(FOLD)


def part_words(part: str) -> str:
    """What people call a part: `fold 2`, `300 examples`; nothing where it is the whole."""
    if is_fold(part):
        return f"fold {part.removeprefix(FOLD)}"
    return f"{int(part.removeprefix(SIZE)):,} examples" if part.startswith(SIZE) else ""


def tokens_path(part: str, split: str, long_texts: LongTexts) -> str:
    """Where the tokens of a part's split are stored as they are read by a rule, as a path in the data's folder."""
    path = split_path(part, split)
    return path if long_texts == "head" else f"{path}@{long_texts}"


def split_path(part: str, split: str) -> str:
    """Where a part's split is stored, as a path in the data's folder; sizes share validation and test."""
    if part == WHOLE or (part.startswith(SIZE) and split != "train"):
        return split
    return f"{part}/{split}"


def make_parts(rows: Rows, spec: DataSpec) -> dict[str, Splits]:
    """The splits of each part, in the order of `part_names`.

    Raises:
        UserError: where there are too few rows, labels that cannot be learnt, or test rows of their own beside folds.
    """
    if spec.folds is not None:
        return _folds(rows, spec, spec.folds)
    whole = make_splits(rows, spec)
    if spec.train_sizes is None:
        return {WHOLE: whole}
    parts = {}
    train = whole.members["train"]
    for size in reversed(spec.train_sizes):
        train = take(rows, train, size, "train_sizes", spec)
        parts[size_name(size)] = replace(whole, members={**whole.members, "train": train})
    return parts


def overall(spec: DataSpec, counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Numbers by split for the study, from those by part: the first part's, but test's over all folds."""
    by_part = list(counts.values())
    numbers = dict(by_part[0])
    if spec.folds is not None:
        numbers["test"] = sum(part["test"] for part in by_part)
    return numbers


def _folds(rows: Rows, spec: DataSpec, folds: int) -> dict[str, Splits]:
    members, removed = given(rows, spec)
    if "test" in members:
        raise UserError(
            f"data.folds tests every training row once, but there are {len(members['test'])} rows for test already; "
            "leave out data.folds, or the test rows (data.test, data.split)"
        )
    numbers = members["train"]
    units = Units.of(rows, numbers)
    fold_of = units.deal(folds, spec.split_seed)[units.of_row]
    parts = {}
    for fold, name in enumerate(part_names(spec)):
        test = fold_of == fold
        if not test.any():
            raise UserError(
                f"data.folds = {folds}, but fold {fold} would have no test example: there are {len(units.classes)} "
                "texts or groups to deal; take fewer folds"
            )
        splits = complete(rows, {**members, "train": numbers[~test], "test": numbers[test]}, removed, spec)
        unseen = np.setdiff1d(rows.strata[numbers], splits.rows.strata[splits.members["train"]])
        if rows.label_table is not None:
            check_learnable(rows, splits.members["train"], f"fold {fold}: ")
        elif len(unseen):
            raise UserError(
                f"data.folds = {folds}, but fold {fold} would train on no example of '{rows.label_names[unseen[0]]}', "
                f"which has {int((units.classes == unseen[0]).sum())} texts or groups; take fewer folds, give more "
                "examples of it, or leave it out"
            )
        parts[name] = splits
    return parts
