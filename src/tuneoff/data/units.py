"""What stays together when rows are shared out, and how it is drawn: by class, by a seed, unmoved by later rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.data.rows import Rows

Numbers = NDArray[np.int64]

DEALING = 1
"""Tells the draws of folds from those of splits."""


@dataclass(frozen=True)
class Units:
    """What stays together, in the order of first rows.

    Attributes:
        of_row: the unit of each row, shape (rows,).
        classes: the class (of several labels, the rarest) of each unit's first row, shape (units,).
        hashes: of each unit's group or text, shape (units,).
        sizes: rows of each unit, shape (units,).
    """

    of_row: Numbers
    classes: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    sizes: Numbers

    @classmethod
    def of(cls, rows: Rows, numbers: Numbers) -> Units:
        together = (rows.keys if rows.groups is None else rows.groups)[numbers]
        hashes, first, of_row, sizes = np.unique(together, return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(first)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return cls(rank[of_row], rows.strata[numbers[first[order]]], hashes[order], sizes[order])

    def one_of(self, many: int, seed: int) -> NDArray[np.bool_]:
        """One unit of every `many` of a class in a row, never its first; at least one in all where a class has two."""
        chosen = np.zeros(len(self.classes), dtype=bool)
        by_class = [np.flatnonzero(self.classes == label) for label in np.unique(self.classes)]
        for units in by_class:
            # Draws for later blocks do not change those for earlier ones.
            draw = np.random.default_rng([seed, int(self.classes[units[0]]), many])
            positions = draw.integers(0, many, size=-(-len(units) // many))
            positions[0] = 1 + positions[0] % (many - 1)
            positions += many * np.arange(len(positions))
            chosen[units[positions[positions < len(units)]]] = True
        if not chosen.any():
            chosen[[units[1] for units in by_class if len(units) > 1]] = True
        return chosen

    def deal(self, folds: int, seed: int) -> Numbers:
        """The fold of each unit, shape (units,): of every `folds` units of a class in a row, each goes to another."""
        dealt = np.empty(len(self.classes), dtype=np.int64)
        for label in np.unique(self.classes):
            units = np.flatnonzero(self.classes == label)
            # As in `one_of`, later blocks change nothing for earlier ones.
            draw = np.random.default_rng([seed, int(label), folds, DEALING])
            order = draw.random((-(-len(units) // folds), folds)).argsort(axis=1)
            dealt[units] = order.ravel()[: len(units)]
        return dealt

    def lowest(self, size: int, seed: int, option: str) -> NDArray[np.bool_]:
        """Units with the lowest hashes, class by class in proportion, until `size` rows are chosen.

        Raises:
            UserError: where there are fewer examples asked for than classes.
        """
        mixed = _mix(self.hashes, seed)
        chosen = np.zeros(len(self.classes), dtype=bool)
        labels, totals = np.unique(np.repeat(self.classes, self.sizes), return_counts=True)
        if size < len(labels):
            raise UserError(
                f"{_asked(option, size)}, but there are {len(labels)} classes, each of which needs an example"
            )
        for label, quota in zip(labels, _quotas(totals, size), strict=True):
            units = np.flatnonzero(self.classes == label)
            units = units[np.argsort(mixed[units], kind="stable")]
            before = np.cumsum(self.sizes[units]) - self.sizes[units]
            chosen[units[before < quota]] = True
        return self._trimmed(chosen, size, mixed)

    def _trimmed(self, chosen: NDArray[np.bool_], size: int, mixed: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Takes single units back that are too many, where larger ones overshot what their class is due."""
        excess = int(self.sizes[chosen].sum()) - size
        for unit in np.flatnonzero(chosen)[np.argsort(mixed[chosen])[::-1]]:
            if excess <= 0:
                break
            if self.sizes[unit] <= excess:
                chosen[unit] = False
                excess -= int(self.sizes[unit])
        return chosen


def _quotas(totals: Numbers, size: int) -> list[int]:
    """`size` divided in proportion to `totals`, at least one each; the largest remainders are rounded up."""
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


def _asked(option: str, size: int) -> str:
    """What a study asked for, or what is left for validation beside the training examples that it asked for."""
    if option == "validation_size":
        return f"{size} examples are for validation (data.validation_size, or what data.train_size leaves)"
    return f"data.{option} = {size}"
