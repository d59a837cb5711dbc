"""Several arms on the same test examples, all their pairs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tuneoff.analysis.statistics.crossed import CrossedMean, resized_examples, resized_parts
from tuneoff.analysis.statistics.mean_error import Floats, MeanError, squares_of
from tuneoff.analysis.statistics.scale import OF_ACCURACY, Scale
from tuneoff.analysis.statistics.spread import SeedSpread

ADDED = 1.0
"""One example that only the first arm gets right, and one that only the second does (Bonett and Price 2012): they
differ by one unit of the metric."""

Places = NDArray[np.intp]
Table = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Field:
    """Arms and what their pairs show: the metric of the first of a pair minus that of the second.

    Arrays have shape (pairs,) unless it is said. A pair is compared on the seeds that both arms have; arms without a
    common seed are no pair.

    Attributes:
        means: of the metric, shape (arms,).
        examples: test examples.
        scale: of the metric.
        first, second: indices of the arms.
        seeds: that the two share.
        difference: as seen.
        centre: with one made-up example for each arm, on which it alone is right, as `error` is.
        seed_variance, example_variance, residual_variance: of the differences, as in `CrossedMean`.
        error: of `centre`. Its row part comes from the arms' own spread between seeds (`SeedSpread`), not from that of
            their differences, which is as good as 0 by luck where seeds are few and pairs are many.
        by_seed: for each pair and seed, the differences summed over examples: on how many more the first arm was right.
        mcnemar: with one common seed, and where runs are right or wrong, McNemar's exact two-sided p-value; else nan.

    Sources: `CrossedMean`; `SeedSpread`; Bonett and Price 2012, Adjusted Wald confidence interval for a difference of
    binomial proportions based on paired data, Journal of Educational and Behavioral Statistics 37 (made-up examples);
    McNemar 1947.
    """

    means: Floats
    examples: int
    scale: Scale
    first: Places
    second: Places
    seeds: Places
    difference: Floats
    centre: Floats
    seed_variance: Floats
    example_variance: Floats
    residual_variance: Floats
    error: MeanError
    by_seed: tuple[Floats, ...]
    mcnemar: Floats

    @classmethod
    def measure(
        cls,
        tables: Sequence[Table],
        seeds: Sequence[Sequence[int]] | None = None,
        comparable: Sequence[bool] | None = None,
        pairs: Sequence[tuple[int, int]] | None = None,
        scale: Scale = OF_ACCURACY,
    ) -> Field:
        """Compares arms.

        Args:
            tables: one an arm, shape (seeds, examples); what each example adds to a run's metric: to its accuracy 1
                where the run was right, 0 where not.
            seeds: of each arm's rows; where left out, all arms have the same.
            comparable: whether an arm's seeds say something of those of other arms; all where left out.
            pairs: indices of the arms that are compared; every two where left out.
            scale: of the metric.
        """
        arms, examples = len(tables), tables[0].shape[1]
        numbers = [tuple(of_arm) for of_arm in seeds] if seeds is not None else [tuple(range(len(tables[0])))] * arms
        wanted = pairs if pairs is not None else [(i, j) for i in range(arms) for j in range(i + 1, arms)]
        shared = {pair: tuple(seed for seed in numbers[pair[0]] if seed in set(numbers[pair[1]])) for pair in wanted}
        wanted = [pair for pair in wanted if shared[pair]]
        groups = {common: _Sums.of(tables, numbers, common) for common in {*numbers, *shared.values()} if common}

        own = [groups[numbers[arm]].of_arm(arm) for arm in range(arms)]
        spread = SeedSpread.moderate(
            np.array([square for square, _ in own]),
            np.array([square for _, square in own]),
            np.array([len(of_arm) - 1.0 for of_arm in numbers]),
            np.array(comparable if comparable is not None else [True] * arms),
        )
        first, second = np.array(wanted, dtype=np.intp).reshape(-1, 2).T
        size = examples + 2 * ADDED
        rows, count = _Parts(len(wanted)), np.array([len(shared[pair]) for pair in wanted], dtype=np.intp)
        by_seed: list[Floats] = [np.zeros(0)] * len(wanted)
        for common, sums in groups.items():
            here = np.array([index for index, pair in enumerate(wanted) if shared[pair] == common], dtype=np.intp)
            if len(here):
                differences = sums.fill(rows, here, first[here], second[here], size, scale.unit)
                for index, row in zip(here, differences, strict=True):
                    by_seed[index] = row
        several = count > 1
        of_seeds = np.where(several, spread.variance[first] + spread.variance[second], 0.0)
        row = of_seeds / (count * size)
        column = np.maximum(0.0, np.maximum(rows.columns - rows.rest, rows.rest - of_seeds)) / (count * size)
        freedom = np.where(several, np.maximum(count - 1, spread.freedom_of_pairs(first, second)), np.inf)
        total = np.array([sums.sum() for sums in by_seed])
        return cls(
            means=np.array([float(np.mean(table)) for table in tables]),
            examples=examples,
            scale=scale,
            first=first,
            second=second,
            seeds=count,
            difference=total / (count * examples),
            centre=total / (count * size),
            seed_variance=np.maximum(0.0, of_seeds - rows.rest) / size,
            example_variance=np.maximum(0.0, rows.columns - rows.rest) / count,
            residual_variance=np.where(several, np.minimum(of_seeds, rows.rest), 0.0),
            error=MeanError(row, column, freedom),
            by_seed=tuple(by_seed),
            mcnemar=np.array(
                [
                    np.nan if len(shared[pair]) > 1 else _mcnemar(tables, numbers, pair, shared[pair][0])
                    for pair in wanted
                ]
            ),
        )

    @property
    def arms(self) -> int:
        """How many there are."""
        return len(self.means)

    @cached_property
    def p_values(self) -> Floats:
        """Two-sided, against no difference: McNemar's with one common seed, else that of `error`."""
        crossed = np.minimum(1.0, 2 * self.error.tail(np.abs(self.centre)))
        return np.where(np.isnan(self.mcnemar), crossed, self.mcnemar)

    def matrix(self, of_first: NDArray[Any], of_second: NDArray[Any], absent: float) -> Floats:
        """A value for each ordered pair of arms, shape (arms, arms); `absent` where they are not compared.

        Args:
            of_first: of the first against the second, shape (pairs,).
            of_second: the other way round.
            absent: also of an arm against itself.
        """
        values = np.full((self.arms, self.arms), absent)
        values[self.first, self.second] = of_first
        values[self.second, self.first] = of_second
        return values

    def among(self, arms: Sequence[int]) -> Field:
        """These arms alone, by their indices in this order; what is known of seeds' spread stays as it is."""
        indices = np.full(self.arms, -1, dtype=np.intp)
        indices[list(arms)] = np.arange(len(arms))
        kept = np.flatnonzero((indices[self.first] >= 0) & (indices[self.second] >= 0))
        cut = {
            name: getattr(self, name)[kept]
            for name in ("seeds", "difference", "centre", "seed_variance", "example_variance", "residual_variance")
        }
        return replace(
            self,
            **cut,
            means=self.means[list(arms)],
            first=indices[self.first[kept]],
            second=indices[self.second[kept]],
            error=self.error.at(kept),
            by_seed=tuple(self.by_seed[index] for index in kept),
            mcnemar=self.mcnemar[kept],
        )

    def resized(self, seeds: int, examples: int) -> Field:
        """What a study of so many seeds and examples would show, by the differences and variances of this one."""
        parts = resized_parts(
            self.seed_variance,
            resized_examples(self.example_variance, 2 * ADDED * self.scale.unit**2, self.examples, examples),
            self.residual_variance,
            np.where(np.isinf(self.error.freedom), 1.0, self.error.freedom / np.maximum(1, self.seeds - 1)),
            seeds,
            examples,
        )
        count = np.full(len(self.first), seeds)
        return replace(self, examples=examples, seeds=count, error=MeanError(*parts), mcnemar=self.mcnemar * np.nan)

    def crossed(self, pair: int) -> CrossedMean:
        """The mean of a pair's differences with its variances."""
        return CrossedMean(
            mean=float(self.centre[pair]),
            seeds=int(self.seeds[pair]),
            examples=self.examples,
            seed_variance=float(self.seed_variance[pair]),
            example_variance=float(self.example_variance[pair]),
            residual_variance=float(self.residual_variance[pair]),
            row_part=float(self.error.row[pair]),
            column_part=float(self.error.column[pair]),
            freedom=float(self.error.freedom[pair]),
            made_up=2 * ADDED * self.scale.unit**2,
        )


class _Parts:
    """Mean squares of pairs' differences, filled group by group."""

    def __init__(self, pairs: int) -> None:
        self.columns = np.zeros(pairs)
        self.rest = np.zeros(pairs)


@dataclass(frozen=True)
class _Sums:
    """What the mean squares of arms and of their differences are computed from, for arms that have the same seeds.

    Attributes:
        index: of each arm in the arrays.
        rows: sums over examples, shape (arms, seeds).
        columns, cells: products of every two arms' sums over seeds, and of their tables, shape (arms, arms).
        examples: how many.
    """

    index: dict[int, int]
    rows: Floats
    columns: Floats
    cells: Floats
    examples: int

    @classmethod
    def of(cls, tables: Sequence[Table], numbers: Sequence[tuple[int, ...]], common: tuple[int, ...]) -> _Sums:
        arms = [arm for arm, seeds in enumerate(numbers) if set(common) <= set(seeds)]
        stacked = np.empty((len(arms), len(common), tables[0].shape[1]))
        for index, arm in enumerate(arms):
            whole = numbers[arm] == common
            stacked[index] = tables[arm] if whole else tables[arm][[numbers[arm].index(seed) for seed in common]]
        columns, flat = stacked.sum(1), stacked.reshape(len(arms), -1)
        indices = {arm: index for index, arm in enumerate(arms)}
        return cls(indices, stacked.sum(2), columns @ columns.T, flat @ flat.T, stacked.shape[2])

    def of_arm(self, arm: int) -> tuple[float, float]:
        """The mean squares of an arm's seeds and of its rest."""
        index = self.index[arm]
        seeds, _, rest = squares_of(
            self.rows[None, index], self.columns[None, index, index], self.cells[None, index, index], self.examples
        )
        return float(seeds[0]), float(rest[0])

    def fill(self, parts: _Parts, pairs: Places, first: Places, second: Places, size: float, unit: float) -> Floats:
        """Puts the mean squares of these pairs' differences at their indices; returns the sums over examples."""
        a, b = (np.array([self.index[arm] for arm in arms], dtype=np.intp) for arms in (first, second))
        seeds = self.rows.shape[1]
        differences = self.rows[a] - self.rows[b]
        columns, cells = (
            products[a, a] + products[b, b] - 2 * products[a, b] for products in (self.columns, self.cells)
        )
        _, of_columns, of_rest = squares_of(
            differences, columns + 2 * ADDED * (seeds * unit) ** 2, cells + 2 * ADDED * seeds * unit**2, size
        )
        parts.columns[pairs], parts.rest[pairs] = of_columns, of_rest
        return differences


def _mcnemar(tables: Sequence[Table], numbers: Sequence[tuple[int, ...]], pair: tuple[int, int], seed: int) -> float:
    """Exact two-sided McNemar test on one run of each of two arms; nan where they are not right or wrong alone."""
    first, second = (tables[arm][numbers[arm].index(seed)] for arm in pair)
    if not all(np.isin(runs, (0.0, 1.0)).all() for runs in (first, second)):
        return np.nan
    better, worse = int((first > second).sum()), int((first < second).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
