"""From all rows to the three splits of a study: by class, by a seed, and the same for a row whatever comes after it.

What stays together is a unit: the rows of one group, and rows with the same text. Units of a class are dealt to blocks
in the order of their first rows, and each block gives a fixed fraction of its units to each side, which ones the seed
decides. So classes keep their proportions, and rows that are appended later change nothing for those before. Where a
number of examples is asked for, the units with the lowest hashes are chosen, so that appended rows only replace as many
others as they have lower hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.texts import counted, in_line
from tuneoff.data.conventions import SPLITS
from tuneoff.data.label_signs import sentinels
from tuneoff.data.rows import Rows
from tuneoff.data.units import Numbers, Units

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tuneoff.spec import DataSpec

HELD_OUT_OF = {"validation": 10, "test": 5}
"""One unit of so many is held out where no number of examples is asked for."""
ENOUGH = 200
"""Examples for validation below which a small `train_size` is no reason to go: the standard error of an accuracy on so
many is 3.5 points at most, and evaluating them after each epoch costs little beside hundreds of steps."""


@dataclass(frozen=True)
class Splits:
    """Which rows are in which split.

    Attributes:
        rows: all rows of the source.
        members: by split, the numbers of its rows, ascending.
        removed: how many rows were taken out, by split: repeats, and those that the study leaves out.
        deduplicated: whether repeats were taken out.
    """

    rows: Rows
    members: dict[str, Numbers]
    removed: dict[str, int]
    deduplicated: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """Examples by split."""
        return {name: len(numbers) for name, numbers in self.members.items()}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes, in order."""
        return self.rows.label_names

    def labels(self, name: str) -> NDArray[np.int32]:
        """Class indices of a split, in the order of its rows."""
        return self.rows.labels[self.members[name]]

    def tables(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """A split's rows, some thousand at a time; see `Rows.tables`."""
        return self.rows.tables(self.members[name], columns)

    def sample(self, name: str, most: int) -> pd.DataFrame:
        """At most so many rows of a split, evenly spread: `row`, `text`, `text_pair` where there is one, `label`."""
        import pyarrow as pa

        chosen = self.members[name]
        if len(chosen) > most:
            chosen = chosen[np.linspace(0, len(chosen) - 1, most).astype(np.int64)]
        frame: pd.DataFrame = pa.concat_tables(self.rows.tables(chosen)).to_pandas()
        return frame.assign(label=self.rows.labels[frame["row"].to_numpy()])


def make_splits(rows: Rows, spec: DataSpec) -> Splits:
    """Makes the splits that every run of a study without folds uses; of several training sizes, those of the largest.

    De-duplication comes first, so that the sizes asked for are met without repeats. Validation is taken from
    training, never from test. A source without a test split gives a fifth of its rows to it.

    Raises:
        UserError: where there is one class only, a label is only in test, or too few rows.
    """
    return complete(rows, *given(rows, spec), spec)


def given(rows: Rows, spec: DataSpec) -> tuple[dict[str, Numbers], dict[str, int]]:
    """The rows by split as the source has them, checked, and how many of each split were taken out.

    Raises:
        UserError: where there is one class only, a label is only in test, or no row is left for a split.
    """
    members = {name: np.flatnonzero(rows.splits == index) for index, name in enumerate(SPLITS)}
    members = {name: numbers for name, numbers in members.items() if len(numbers)}
    if "train" not in members:
        raise UserError(f"no row is marked as train (it has {', '.join(members)})")
    _check_classes(rows, members)
    removed = _deduplicate(rows, members) if spec.deduplicate else {}
    for name, by_reason in rows.dropped.items():
        removed[name] = removed.get(name, 0) + sum(by_reason.values())
    for name, numbers in members.items():
        if not len(numbers):
            raise UserError(f"every {name} text repeats an earlier one, so that data.deduplicate leaves none")
    return members, removed


def complete(rows: Rows, members: dict[str, Numbers], removed: dict[str, int], spec: DataSpec) -> Splits:
    """Takes the splits that are not given out of train, and meets the sizes asked for.

    Raises:
        UserError: where there are too few rows.
    """
    members = dict(members)
    train_size = spec.train_sizes[-1] if spec.train_sizes else spec.train_size
    validation = _validation_size(rows, members, spec, train_size) if "validation" not in members else 0
    if "test" not in members:
        before = None if train_size is None else train_size + (validation or 0)
        members["train"], members["test"] = _hold_out(rows, members["train"], "test", spec.test_size, before, spec)
    else:
        members["test"] = take(rows, members["test"], spec.test_size, "test_size", spec)
    if "validation" not in members:
        if validation is not None and spec.validation_size is None and train_size is not None:
            validation = min(validation, max(2, len(members["train"]) - train_size))
        numbers = members["train"]
        members["train"], members["validation"] = _hold_out(rows, numbers, "validation", validation, train_size, spec)
    else:
        members["validation"] = take(rows, members["validation"], spec.validation_size, "validation_size", spec)
    option = "train_sizes" if spec.train_sizes else "train_size"
    members["train"] = take(rows, members["train"], train_size, option, spec)
    return Splits(rows, {name: members[name] for name in SPLITS}, removed, spec.deduplicate)


def check_learnable(rows: Rows, train: Numbers, where: str = "") -> None:
    """Makes sure that training examples of labels that are no classes differ in each thing that is learned.

    Args:
        rows: all rows.
        train: numbers of those to train on.
        where: what a message begins with.

    Raises:
        UserError: where they do not.
    """
    assert rows.label_table is not None
    values = rows.label_table[rows.labels[train]]
    constant = np.flatnonzero((values == values[:1]).all(axis=0))
    if not len(constant):
        return
    name = rows.label_names[constant[0]]
    if len(rows.label_names) == 1:
        raise UserError(f"{where}every training example has the same number, so that there is nothing to learn")
    whose = "every" if values[0, constant[0]] else "no"
    raise UserError(
        f"{where}{whose} training example has the label '{name}', so that it cannot be learned; give "
        f"{'examples of it' if whose == 'no' else 'examples without it'}, or leave it out of the labels"
    )


def _check_classes(rows: Rows, members: dict[str, Numbers]) -> None:
    if rows.label_table is not None:
        check_learnable(rows, members["train"])
        return
    names = rows.label_names
    if len(names) < 2:
        others = rows.looks.other_labels(rows.columns)
        could = f" It could also be {in_line(others)}." if others else ""
        raise UserError(
            f"every label is '{names[0]}': a classifier needs examples of at least two classes "
            f'(is data.label = "{rows.columns.label}" the right column?{could})'
        )
    trained = np.unique(rows.labels[members["train"]])
    for name, numbers in members.items():
        unseen = np.setdiff1d(rows.labels[numbers], trained)
        if len(unseen) and len(trained) > 1:
            raise UserError(
                f"the label '{names[unseen[0]]}' is in {name} but never in train{_unseen(rows, names[unseen[0]])}"
            )


def _unseen(rows: Rows, label: str) -> str:
    """What to do about a label that a split has and train has not."""
    drop = f'data.drop_labels = ["{label}"]'
    counts = np.bincount(rows.labels[rows.labels >= 0], minlength=len(rows.label_names))
    if any(label in found for found in sentinels(rows.label_names, counts.tolist(), rows.declared)):
        return f" and seems to mean that there is none; set {drop}, or take other rows to test on (data.test)"
    return f"; give examples of it, or leave its rows out with {drop}"


def _deduplicate(rows: Rows, members: dict[str, Numbers]) -> dict[str, int]:
    """Keeps the first of each text within a split, and no text of validation or test that an earlier split holds."""
    removed = {}
    seen = np.empty(0, dtype=np.uint64)
    for name in SPLITS:
        if name not in members:
            continue
        keys = rows.keys[members[name]]
        first = np.zeros(len(keys), dtype=bool)
        first[np.unique(keys, return_index=True)[1]] = True
        fresh = first & ~np.isin(keys, seen)
        seen = np.union1d(seen, keys)
        removed[name] = int((~fresh).sum())
        members[name] = members[name][fresh]
    return removed


def _validation_size(rows: Rows, members: dict[str, Numbers], spec: DataSpec, train_size: int | None) -> int | None:
    """Examples for validation where a number is asked for, or follows from that of the training examples.

    Beside a `train_size` it is a tenth of that, but not below `ENOUGH` where a tenth of all rows would be as many.
    """
    if spec.validation_size is not None or train_size is None:
        return spec.validation_size
    available = len(members["train"])
    if "test" not in members:
        available -= spec.test_size or available // HELD_OUT_OF["test"]
    tenth = round(train_size / HELD_OUT_OF["validation"])
    return max(2, len(rows.label_names), tenth, min(ENOUGH, available // HELD_OUT_OF["validation"]))


def _hold_out(
    rows: Rows, numbers: Numbers, name: str, size: int | None, before: int | None, spec: DataSpec
) -> tuple[Numbers, Numbers]:
    """Divides rows into the rest and those held out.

    They are chosen by class and seed; with `sampling = "first"` they are those that follow the first `before` ones.
    """
    if size is not None and size >= len(numbers):
        raise UserError(
            f"{size} examples for {name} cannot be taken from {counted(len(numbers), 'row')} of training data"
        )
    if spec.sampling == "first" and before is not None:
        size = size or max(2, len(numbers) // HELD_OUT_OF[name])
        end = min(before + size, len(numbers))
        return numbers[: end - size], numbers[end - size : end]
    units = Units.of(rows, numbers)
    if size is None:
        held_out = units.one_of(HELD_OUT_OF[name], spec.split_seed)
    else:
        held_out = units.lowest(size, spec.split_seed, f"{name}_size")
    chosen = held_out[units.of_row]
    if not 0 < chosen.sum() < len(numbers):
        raise UserError(
            f"no {name} examples can be held out of {counted(len(numbers), 'row')}, of which those with the same text "
            "or group stay together; give some, or more rows"
        )
    return numbers[~chosen], numbers[chosen]


def take(rows: Rows, numbers: Numbers, size: int | None, option: str, spec: DataSpec) -> Numbers:
    """So many of some rows, by class and seed, or the first ones; all where no size is asked for.

    Args:
        rows: all rows.
        numbers: which of them to take from, ascending.
        size: how many to take; where units of several rows stay together, some more may be needed.
        option: the field of `[data]` that asks for them.
        spec: says how to take them.

    Raises:
        UserError: where there are fewer rows, or more classes.
    """
    if size is None or size == len(numbers):
        return numbers
    if size > len(numbers):
        left = f"{counted(len(numbers), 'row')} {'is' if len(numbers) == 1 else 'are'}"
        raise UserError(f"data.{option} = {size}, but only {left} left for {option.split('_')[0]}")
    if spec.sampling == "first":
        return numbers[:size]
    units = Units.of(rows, numbers)
    return numbers[units.lowest(size, spec.split_seed, option)[units.of_row]]
