"""The mean over seeds and test examples, crossed, and how far it may be from what other seeds and examples give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.analysis.statistics.mean_error import MeanError, one, squares_of


@dataclass(frozen=True)
class CrossedMean:
    """A mean over seeds (rows) and examples (columns), both drawn at random, with the variance of each origin.

    The model is y[s, e] = mean + a[s] + b[e] + c[s, e]. The variance of the mean has two parts: that of the rows' means
    (a and c), known from few seeds and hence badly, and that of the examples (b), known from many examples.

    Attributes:
        mean: of all values, those added by `measure` included.
        seeds, examples: numbers of rows and of columns.
        seed_variance, example_variance, residual_variance: of a, b and c, estimated by the mean squares of a two-way
            analysis of variance, negative ones set to 0. With one seed all is put down to the examples.
        row_part, column_part: the two parts of the variance of the mean.
        freedom: the degrees of freedom of the row part; infinite with one seed, which has none.
        made_up: the sum of the squares of the added examples' values, with one seed.

    Source: Searle, Casella and McCulloch 1992, Variance Components, chapter 4 (estimates).
    """

    mean: float
    seeds: int
    examples: int
    seed_variance: float
    example_variance: float
    residual_variance: float
    row_part: float
    column_part: float
    freedom: float
    made_up: float = 0.0

    @classmethod
    def measure(cls, values: NDArray[np.floating[Any]], added: float, ends: tuple[float, float]) -> CrossedMean:
        """Estimates mean and variances.

        Args:
            values: shape (seeds, examples), within `ends`.
            added: how many examples are added at each end (the same value with every seed), which keeps the variance
                away from 0 where nothing has varied yet; may be a fraction.
            ends: the lowest and the highest value that is possible.
        """
        seeds, real = values.shape
        assert seeds > 0
        assert real > 0
        low, high = ends
        examples = real + 2 * added
        rows = values.sum(axis=1, dtype=np.float64) + added * (low + high)
        columns = np.square(values.sum(axis=0, dtype=np.float64)).sum() + added * seeds**2 * (low**2 + high**2)
        cells = np.square(values, dtype=np.float64).sum() + added * seeds * (low**2 + high**2)
        of_rows, of_columns, of_rest = (
            float(square[0]) for square in squares_of(rows[None], [columns], [cells], examples)
        )
        size = seeds * examples
        return cls(
            mean=float(rows.sum() / size),
            seeds=seeds,
            examples=real,
            seed_variance=max(0.0, of_rows - of_rest) / examples,
            example_variance=max(0.0, of_columns - of_rest) / seeds,
            residual_variance=of_rest,
            row_part=of_rows / size,
            # Never less than the rest alone would give, also where rows and columns vary less than by chance.
            column_part=max(0.0, of_columns - of_rest, of_rest - of_rows) / size,
            freedom=seeds - 1 if seeds > 1 else np.inf,
            made_up=added * (low**2 + high**2),
        )

    def resized(self, seeds: int, examples: int) -> CrossedMean:
        """What a study with other numbers of seeds and examples would show, by the variances seen in this one.

        A mean of one seed, whose spread between seeds is not known, keeps it unknown.
        """
        row, column, freedom = resized_parts(
            self.seed_variance,
            resized_examples(self.example_variance, self.made_up, self.examples, examples),
            self.residual_variance,
            self.freedom / max(1, self.seeds - 1),
            seeds,
            examples,
        )
        return replace(self, seeds=seeds, examples=examples, row_part=row, column_part=column, freedom=freedom)

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return float(self.error.standard[0])

    @cached_property
    def error(self) -> MeanError:
        """How far the mean may be off."""
        return one(self.row_part, self.column_part, self.freedom)

    def tail(self, distance: float) -> float:
        """The probability of an error of the mean above `distance` (one-sided)."""
        return float(self.error.tail([distance])[0])

    def half_width(self, tail: float) -> float:
        """The distance that the error of the mean exceeds with probability `tail` (one-sided, below 0.5)."""
        return float(self.error.half_width(tail)[0])


def resized_parts(
    seed_variance: Any, example_variance: Any, residual_variance: Any, freedom_a_seed: Any, seeds: int, examples: int
) -> tuple[Any, Any, Any]:
    """Row part, column part and degrees of freedom in a study of so many seeds and examples; numbers or arrays."""
    row = seed_variance / seeds + residual_variance / (seeds * examples)
    return row, example_variance / examples, freedom_a_seed * (seeds - 1)


def resized_examples(variance: Any, made_up: float, examples: int, later: int) -> Any:
    """The variance of examples among so many of them: made-up ones count for less where there are more others."""
    return np.maximum(0.0, variance - made_up / (examples + 1)) + made_up / (later + 1)
