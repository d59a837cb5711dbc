"""From all rows to the three splits of a study: by class, by a seed, and the same for a row whatever comes after it.

What stays together is a unit: the rows of one group, and rows with the same text. Units of a class are dealt to blocks
in the order of their first rows, and each block gives a fixed share of its units to each side, which ones the seed
decides. So classes keep their shares, and rows that are appended later change nothing for those before. Where a
number of examples is asked for, the units with the lowest hashes are taken, so that appended rows only take the place
of as many others as they have lower hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.rows import SPLITS, Rows
from tuneoff.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tuneoff.spec import DataSpec

HELD_OUT_OF = {"validation": 10, "test": 5}
"""One unit of so many is held out where no number of examples is asked for."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Which rows are in which split.

    Attributes:
        rows: all rows of the source.
        members: by split, the numbers of its rows, ascending.
        removed: how many rows de-duplication took out, by split.
    """

    rows: Rows
    members: dict[str, Numbers]
    removed: dict[str, int]

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
    """Makes the splits that every run of the study uses.

    De-duplication comes first, so that the sizes asked for are met without repeats. Validation is taken from
    training, never from test. A source without a test split gives a fifth of its rows to it.

    Raises:
        UserError: where there is one class only, a label is only in test, or too few rows.
    """
    parts = {name: np.flatnonzero(rows.splits == index) for index, name in enumerate(SPLITS)}
    parts = {name: numbers for name, numbers in parts.items() if len(numbers)}
    if "train" not in parts:
        raise UserError(f"no row is marked as train (it has {', '.join(parts)})")
    _check_classes(rows, parts)
    removed = _deduplicate(rows, parts) if spec.deduplicate else {}
    for name, numbers in parts.items():
        if not len(numbers):
            raise UserError(f"every {name} text repeats an earlier one, so that data.deduplicate leaves none")
    validation = _validation_size(rows, spec) if "validation" not in parts else 0
    if "test" not in parts:
        before = None if spec.train_size is None else spec.train_size + (validation or 0)
        parts["train"], parts["test"] = _hold_out(rows, parts["train"], "test", spec.test_size, before, spec)
    else:
        parts["test"] = _take(rows, parts["test"], "test", spec)
    if "validation" not in parts:
        if validation is not None and spec.validation_size is None and spec.train_size is not None:
            validation = min(validation, max(2, len(parts["train"]) - spec.train_size))
        numbers = parts["train"]
        parts["train"], parts["validation"] = _hold_out(rows, numbers, "validation", validation, spec.train_size, spec)
    else:
        parts["validation"] = _take(rows, parts["validation"], "validation", spec)
    parts["train"] = _take(rows, parts["train"], "train", spec)
    return Splits(rows, {name: parts[name] for name in SPLITS}, removed)


def _check_classes(rows: Rows, parts: dict[str, Numbers]) -> None:
    names = rows.label_names
    if len(names) < 2:
        raise UserError(
            f"every label is '{names[0]}': a classifier needs examples of at least two classes "
            f'(is data.label = "{rows.columns.label}" the right column?)'
        )
    trained = np.unique(rows.labels[parts["train"]])
    for name, numbers in parts.items():
        unseen = np.setdiff1d(rows.labels[numbers], trained)
        if len(unseen) and len(trained) > 1:
            raise UserError(f"the label '{names[unseen[0]]}' is in {name} but never in train")


def _deduplicate(rows: Rows, parts: dict[str, Numbers]) -> dict[str, int]:
    """Keeps the first of each text within a split, and no text of validation or test that an earlier split holds."""
    removed = {}
    seen = np.empty(0, dtype=np.uint64)
    for name in SPLITS:
        if name not in parts:
            continue
        keys = rows.keys[parts[name]]
        first = np.zeros(len(keys), dtype=bool)
        first[np.unique(keys, return_index=True)[1]] = True
        fresh = first & ~np.isin(keys, seen)
        seen = np.union1d(seen, keys)
        removed[name] = int((~fresh).sum())
        parts[name] = parts[name][fresh]
    return removed


def _validation_size(rows: Rows, spec: DataSpec) -> int | None:
    """Examples for validation where a number is asked for, or follows from that of the training examples."""
    if spec.validation_size is not None or spec.train_size is None:
        return spec.validation_size
    return max(2, len(rows.label_names), round(spec.train_size / HELD_OUT_OF["validation"]))


def _hold_out(
    rows: Rows, numbers: Numbers, name: str, size: int | None, before: int | None, spec: DataSpec
) -> tuple[Numbers, Numbers]:
    """Parts rows into the rest and those held out.

    They are chosen by class and seed; with `sampling = "first"` they are those that follow the first `before` ones.
    """
    if size is not None and size >= len(numbers):
        raise UserError(f"{size} examples for {name} cannot be taken from {len(numbers)} rows of training data")
    if spec.sampling == "first" and before is not None:
        size = size or max(2, len(numbers) // HELD_OUT_OF[name])
        end = min(before + size, len(numbers))
        return numbers[: end - size], numbers[end - size : end]
    units = _Units.of(rows, numbers)
    if size is None:
        held_out = units.one_of(HELD_OUT_OF[name], spec.split_seed)
    else:
        held_out = units.lowest(size, spec.split_seed, f"{name}_size")
    chosen = held_out[units.of_row]
    if not 0 < chosen.sum() < len(numbers):
        raise UserError(
            f"no {name} examples can be held out of {len(numbers)} rows, of which those with the same text or group "
            "stay together; give some, or more rows"
        )
    return numbers[~chosen], numbers[chosen]


def _take(rows: Rows, numbers: Numbers, name: str, spec: DataSpec) -> Numbers:
    size: int | None = getattr(spec, f"{name}_size")
    if size is None or size == len(numbers):
        return numbers
    if size > len(numbers):
        raise UserError(f"data.{name}_size = {size}, but only {len(numbers)} rows are left for {name}")
    if spec.sampling == "first":
        return numbers[:size]
    units = _Units.of(rows, numbers)
    return numbers[units.lowest(size, spec.split_seed, f"{name}_size")[units.of_row]]


@dataclass(frozen=True)
class _Units:
    """What stays together, in the order of first rows.

    Attributes:
        of_row: the unit of each row, shape (rows,).
        classes: the class of each unit's first row, shape (units,).
        hashes: of each unit's group or text, shape (units,).
        sizes: rows of each unit, shape (units,).
    """

    of_row: Numbers
    classes: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    sizes: Numbers

    @classmethod
    def of(cls, rows: Rows, numbers: Numbers) -> _Units:
        together = (rows.keys if rows.groups is None else rows.groups)[numbers]
        hashes, first, of_row, sizes = np.unique(together, return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(first)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        return cls(place[of_row], rows.labels[numbers[first[order]]], hashes[order], sizes[order])

    def one_of(self, many: int, seed: int) -> NDArray[np.bool_]:
        """One unit of every `many` of a class in a row, never its first; at least one in all where a class has two."""
        chosen = np.zeros(len(self.classes), dtype=bool)
        by_class = [np.flatnonzero(self.classes == label) for label in np.unique(self.classes)]
        for units in by_class:
            # Draws for later blocks do not change those for earlier ones.
            draw = np.random.default_rng([seed, int(self.classes[units[0]]), many])
            places = draw.integers(0, many, size=-(-len(units) // many))
            places[0] = 1 + places[0] % (many - 1)
            places += many * np.arange(len(places))
            chosen[units[places[places < len(units)]]] = True
        if not chosen.any():
            chosen[[units[1] for units in by_class if len(units) > 1]] = True
        return chosen

    def lowest(self, size: int, seed: int, option: str) -> NDArray[np.bool_]:
        """Units with the lowest hashes, class by class in their shares, until `size` rows are taken.

        Raises:
            UserError: where there are fewer examples asked for than classes.
        """
        mixed = _mix(self.hashes, seed)
        taken = np.zeros(len(self.classes), dtype=bool)
        labels, totals = np.unique(np.repeat(self.classes, self.sizes), return_counts=True)
        if size < len(labels):
            raise UserError(
                f"data.{option} = {size}, but there are {len(labels)} classes, each of which needs an example"
            )
        for label, quota in zip(labels, _quotas(totals, size), strict=True):
            units = np.flatnonzero(self.classes == label)
            units = units[np.argsort(mixed[units], kind="stable")]
            before = np.cumsum(self.sizes[units]) - self.sizes[units]
            taken[units[before < quota]] = True
        return self._trimmed(taken, size, mixed)

    def _trimmed(self, taken: NDArray[np.bool_], size: int, mixed: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Takes single units back that are too many, where larger ones overshot their class's share."""
        excess = int(self.sizes[taken].sum()) - size
        for unit in np.flatnonzero(taken)[np.argsort(mixed[taken])[::-1]]:
            if excess <= 0:
                break
            if self.sizes[unit] <= excess:
                taken[unit] = False
                excess -= int(self.sizes[unit])
        return taken


def _quotas(totals: Numbers, size: int) -> list[int]:
    """`size` shared out in proportion to `totals`, at least one each; the largest remainders are rounded up."""
    exact = totals * (size / totals.sum())
    quotas = np.maximum(np.floor(exact).astype(int), 1)
    for index in np.argsort(-(exact - np.floor(exact)), kind="stable"):
        if quotas.sum() < size and quotas[index] < totals[index]:
            quotas[index] += 1
    while quotas.sum() > size:
        quotas[np.argmax(quotas)] -= 1
    return quotas.tolist()


def _mix(hashes: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Other hashes for each seed (the finaliser of splitmix64; Steele, Lea and Flood 2014)."""
    mixed = hashes + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % (1 << 64))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
