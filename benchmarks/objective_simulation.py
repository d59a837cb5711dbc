"""Coverage and errors for objectives that are no means over examples, in made-up studies whose truth is known.

    python benchmarks/objective_simulation.py --processes 2    the table of docs/statistics.md

Each example has a class and a difficulty; each run answers right or with one of the other classes, or, where the
objective judges probabilities, gives logits that the example, the arm, its seed and luck move. Or it has a number,
and each run is off by what the example, the arm, its seed and luck add. The truth is an arm's metric on all examples
there could be, on average over seeds. Ends with 1 where an interval covers less or more
often than it may, or an error is more frequent.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import norm
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tuneoff.analysis.statistics import RISK, Field, Scale, adjust_pairs, mean_interval, shown
from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.tasks.objectives.base import ClassObjective

KINDS: dict[str, tuple[float, ...]] = {
    "2 classes, 85/15": (0.85, 0.15),
    "6 classes, as TREC-6": (0.229, 0.212, 0.223, 0.016, 0.152, 0.168),
}
"""Shares of classes."""
RECALL = {2: (0.95, 0.65), 6: (0.93, 0.9, 0.94, 0.8, 0.92, 0.88)}
"""The share of each class that is answered right."""
NUMBERS = ("numbers, normal", "numbers, skewed", "numbers, 5 steps")
"""How numbers are spread."""
OFF, OFF_BY_TASTE, OFF_BY_LUCK, OFF_BY_NOISE = 0.45, 0.2, 0.06, 0.25
"""As those below, of how far a number is missed, in standard deviations of labels; luck is of a seed, on its slope."""
APART, BY_EXAMPLE, BY_TASTE, BY_LUCK, BY_NOISE = 2.6, 1.0, 0.45, 0.15, 0.4
"""How far the logit of an example's own class is above the others, and what moves each logit, as below."""
LARGE, LUCKS = 100_000, 24
"""Examples and seeds that stand for all there could be, of numbers."""
DIFFICULTY, TASTE, LUCK, NOISE = 1.0, 0.35, 0.12, 0.35
"""Standard deviations of what an example adds for all arms, for one arm, of a seed's luck, and of one run's noise."""
MARGIN = 0.03
ARMS = 4
LEAST, MOST = 0.93, 0.98
"""Of the coverage of an interval of 95%."""


@dataclass(frozen=True)
class Cell:
    """A kind of study."""

    objective: str
    kind: str
    seeds: int
    examples: int


@dataclass
class Counts:
    """What came of some studies."""

    studies: int = 0
    covered: float = 0.0
    covered_differences: float = 0.0
    wrong_better: int = 0
    wrong_shown: int = 0
    shown: int = 0

    def add(self, other: Counts) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def draw_numbers(
    kind: str, behind: Sequence[float], examples: int, seeds: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `draw`, of numbers; an arm is behind by errors of its own."""
    labels = generator.standard_normal(examples)
    if kind.endswith("skewed"):
        labels = (np.exp(0.6 * labels) - math.exp(0.18)) / math.sqrt((math.exp(0.36) - 1) * math.exp(0.36))
    elif kind.endswith("steps"):
        labels = np.clip(np.round(labels), -2, 2)
    common = OFF * generator.standard_normal(examples)
    predictions = np.empty((len(behind), seeds, examples))
    for arm, lag in enumerate(behind):
        own = math.hypot(OFF_BY_TASTE, lag) * generator.standard_normal(examples)
        slope = 0.8 + OFF_BY_LUCK * generator.standard_normal((seeds, 1))
        predictions[arm] = slope * labels + common + own + OFF_BY_NOISE * generator.standard_normal((seeds, examples))
    return labels, predictions


def draw_chances(
    kind: str, behind: Sequence[float], examples: int, seeds: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """As `draw`, of probabilities, shape (arms, seeds, examples, classes); an arm is behind by noise of its own."""
    shares = np.array(KINDS[kind]) / sum(KINDS[kind])
    labels = generator.choice(len(shares), examples, p=shares)
    common = APART * np.eye(len(shares))[labels] + np.log(shares)
    common = common + BY_EXAMPLE * generator.standard_normal(common.shape)
    chances = np.empty((len(behind), seeds, *common.shape))
    for arm, lag in enumerate(behind):
        own = math.hypot(BY_TASTE, lag) * generator.standard_normal(common.shape)
        luck = BY_LUCK * generator.standard_normal((seeds, 1, len(shares)))
        sure = 1 + BY_LUCK * generator.standard_normal((seeds, 1, 1))
        noise = BY_NOISE * generator.standard_normal((seeds, *common.shape))
        chances[arm] = softmax(sure * (common + own + luck + noise), axis=-1)
    return labels, chances


@lru_cache(maxsize=256)
def _true_of_large(objective: str, kind: str, lag: float) -> float:
    drawn = draw_numbers if kind in NUMBERS else draw_chances
    labels, (runs,) = drawn(kind, [lag], LARGE, LUCKS, np.random.default_rng(7))
    return float(np.mean([OBJECTIVES.named(objective).value(labels, run) for run in runs]))


def draw(
    cell: Cell, behind: Sequence[float], examples: int, seeds: int, generator: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Labels, shape (examples,), and predictions, shape (arms, seeds, examples), with a last axis of probabilities.

    Args:
        cell: of the study.
        behind: how far each arm's quantile of being right lies below that of the best.
        examples: how many.
        seeds: of each arm.
        generator: of what is random.
    """
    if cell.kind in NUMBERS:
        return draw_numbers(cell.kind, behind, examples, seeds, generator)
    if OBJECTIVES.named(cell.objective).of == "probabilities":
        return draw_chances(cell.kind, behind, examples, seeds, generator)
    shares = np.array(KINDS[cell.kind])
    recall = np.array(RECALL[len(shares)])
    labels = generator.choice(len(shares), examples, p=shares / shares.sum())
    wide = math.sqrt(DIFFICULTY**2 + TASTE**2 + LUCK**2 + NOISE**2)
    difficulty = DIFFICULTY * generator.standard_normal(examples)
    mistaken = (labels + 1 + generator.integers(0, len(shares) - 1, examples)) % len(shares)
    predictions = np.empty((len(behind), seeds, examples), dtype=np.int64)
    for arm, lag in enumerate(behind):
        taste = TASTE * generator.standard_normal(examples)
        # Luck leans to one class or another, so that seeds differ in where they err.
        luck = LUCK * generator.standard_normal((seeds, len(shares)))
        noise = NOISE * generator.standard_normal((seeds, examples))
        right = norm.ppf(recall)[labels] * wide - lag * wide + difficulty + taste + luck[:, labels] + noise > 0
        predictions[arm] = np.where(right, labels, mistaken)
    return labels, predictions


def truths(cell: Cell, behind: Sequence[float]) -> NDArray[np.float64]:
    """The metric of each arm on all examples there could be, on average over seeds."""
    if cell.kind in NUMBERS or OBJECTIVES.named(cell.objective).of == "probabilities":
        return np.array([_true_of_large(cell.objective, cell.kind, lag) for lag in behind])
    objective = OBJECTIVES.named(cell.objective)
    assert issubclass(objective, ClassObjective)
    shares = np.array(KINDS[cell.kind])
    classes = len(shares)
    luck = LUCK * np.random.default_rng(7).standard_normal((100_000, classes))
    wide = math.sqrt(DIFFICULTY**2 + TASTE**2 + LUCK**2 + NOISE**2)
    of_examples = math.sqrt(DIFFICULTY**2 + TASTE**2 + NOISE**2)
    found = []
    for lag in behind:
        right = norm.cdf(((norm.ppf(RECALL[classes]) - lag) * wide + luck) / of_examples)
        counts = np.repeat(((1 - right) / (classes - 1))[:, :, None], classes, 2)
        counts[:, np.arange(classes), np.arange(classes)] = right
        found.append(float(objective.of_counts(counts * shares[:, None] / shares.sum()).mean()))
    return np.array(found)


def simulate(cell: Cell, behind: Sequence[float], truth: NDArray[np.float64], studies: int, seed: int) -> Counts:
    """What the analysis says of so many studies."""
    objective = OBJECTIVES.named(cell.objective)
    generator = np.random.default_rng(seed)
    counts = Counts()
    with threadpool_limits(1):
        for _ in range(studies):
            labels, predictions = draw(cell, behind, cell.examples, cell.seeds, generator)
            found = [[objective.contributions(labels, run) for run in arm] for arm in predictions]
            tables = [np.stack([one.values for one in arm]) for arm in found]
            units = [float(np.mean([one.unit for one in arm])) for arm in found]
            largest = [float(np.mean([one.largest for one in arm])) for arm in found]
            intervals = [
                mean_interval(table, objective.lowest, most) for table, most in zip(tables, largest, strict=True)
            ]
            field = Field.measure(tables, scale=Scale(float(np.mean(units)), objective.span()))
            differences = truth[field.first] - truth[field.second]
            called = adjust_pairs(field.p_values, len(behind)) < RISK
            passed = shown(field, MARGIN)
            counts.add(
                Counts(
                    studies=1,
                    covered=float(
                        np.mean([one.ci_low <= true <= one.ci_high for one, true in zip(intervals, truth, strict=True)])
                    ),
                    covered_differences=float(
                        np.mean(2 * field.error.tail(np.abs(field.centre - differences)) >= RISK)
                    ),
                    wrong_better=bool((called & (np.sign(field.centre) != np.sign(np.round(differences, 4)))).any()),
                    wrong_shown=bool((passed & (truth.max() - truth >= MARGIN)).any()),
                    shown=bool(passed.any()),
                )
            )
    return counts


def main() -> int:
    """Carries out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--objectives", nargs="+", default=["macro_f1", "mcc", "balanced_accuracy", "r2", "spearman"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--examples", type=int, nargs="+", default=[300, 2000])
    arguments = parser.parse_args()
    cells = [
        Cell(objective, kind, seeds, examples)
        for objective in arguments.objectives
        for kind in (KINDS if "class" in OBJECTIVES.named(objective).kinds else NUMBERS)
        for seeds, examples in product(arguments.seeds, arguments.examples)
    ]
    print("| objective | labels | seeds | examples | coverage | of differences | wrong better | wrong close | close |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    bad = False
    noise = 2 * math.sqrt(RISK * (1 - RISK) / arguments.studies)
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs: list[tuple[Cell, Any, Any]] = []
        for cell in cells:
            equal = [0.0] * ARMS
            lagging = [*_lag(cell), 0.0]
            pieces = max(1, arguments.processes)
            each = -(-arguments.studies // pieces)
            jobs.append(
                (
                    cell,
                    [pool.submit(_run, cell, equal, each, 100 + piece) for piece in range(pieces)],
                    [pool.submit(_run, cell, lagging, each, 200 + piece) for piece in range(pieces)],
                )
            )
        for cell, equal_jobs, lagging_jobs in jobs:
            equal_counts, lagging_counts = Counts(), Counts()
            for job in equal_jobs:
                equal_counts.add(job.result())
            for job in lagging_jobs:
                lagging_counts.add(job.result())
            n = equal_counts.studies
            coverage, of_differences = equal_counts.covered / n, equal_counts.covered_differences / n
            wrong_better = equal_counts.wrong_better / n
            wrong_shown = lagging_counts.wrong_shown / lagging_counts.studies
            print(
                f"| {cell.objective} | {cell.kind} | {cell.seeds} | {cell.examples:,} | {100 * coverage:.1f} | "
                f"{100 * of_differences:.1f} | {100 * wrong_better:.1f} | {100 * wrong_shown:.1f} | "
                f"{100 * equal_counts.shown / n:.1f} |",
                flush=True,
            )
            bad |= not LEAST <= coverage <= MOST or of_differences < LEAST
            bad |= wrong_better > RISK + noise or wrong_shown > RISK + noise
    return int(bad)


def _lag(cell: Cell) -> list[float]:
    """How far three arms lie behind one so that each loses just the margin."""
    low, high = 0.0, 2.0
    best = truths(cell, [0.0])[0]
    for _ in range(14):
        middle = (low + high) / 2
        lost = best - truths(cell, [middle])[0]
        low, high = (middle, high) if lost < MARGIN else (low, middle)
    return [high] * (ARMS - 1)


def _run(cell: Cell, behind: Sequence[float], studies: int, seed: int) -> Counts:
    return simulate(cell, behind, truths(cell, behind), studies, seed)


if __name__ == "__main__":
    sys.exit(main())
