"""How often the verdict is wrong, and how often it finds what is there, in made-up studies whose truth is known.

    python benchmarks/verdict_simulation.py --processes 16 --json verdict.json    the tables of docs/statistics.md
    python benchmarks/verdict_simulation.py --studies 200 --seeds 3 --arms 4      some cells, roughly

It calls the very functions that a study's analysis calls, on tables of which run is right on which test example.
benchmarks/README.md says how studies are made up. Ends with 1 where an error is more frequent than it may be, or what
must be found is not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tuneoff.analysis.statistics import RISK, Field, adjust_pairs, choose, most_accurate, shown

MARGIN = 0.01
TOP = 0.88
"""Accuracy of the best arm."""
BEHIND = {"equal": 0.0, "lead 1": 0.01, "lead 3": 0.03, "lead 10": 0.1, "rivals": 0.0101}
"""By scenario, how far all arms but the dearest are behind it; `rivals` lose just more than the margin."""
SEEDS, SHARES, EXAMPLES, ARMS = (2, 3, 5), (0.0, 0.2, 0.8), (296, 1000, 2000), (2, 4, 8)
WIDE = 4.0
DIFFICULTY, TASTE, NOISE = 1.0, 0.2, 0.3
"""Standard deviations of what an example adds for all arms, for one arm, and for one run.

Runs of one arm then disagree on about 6% of test examples and those of two arms on about 7%, seeds' luck aside, so that
differences are known about as well as those of the real studies in docs/results.md.
"""
STUDIES_A_TASK = 250
ENOUGH = 100
"""Unsettled studies for a rate of wrong choices among them."""
CHOICES = Path(__file__).parent.parent / "src" / "tuneoff" / "analysis" / "wrong_choices.json"
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)


@dataclass(frozen=True)
class Cell:
    """A kind of study; `share` is the seeds' part of the variance of a single run's test accuracy."""

    scenario: str
    seeds: int
    share: float
    examples: int
    arms: int
    wide: bool = False

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """The truth, the cheapest arm first; the dearest is the best."""
        return np.array([TOP - BEHIND[self.scenario]] * (self.arms - 1) + [TOP])

    def lucks(self) -> NDArray[np.float64]:
        """Standard deviations of the luck of each arm's seeds."""
        variance = self.share / (1 - self.share) * TOP * (1 - TOP) / self.examples
        lucks = np.full(self.arms, _luck(variance))
        if self.wide:
            lucks[0] = _luck(WIDE**2 * variance)
        return lucks


@dataclass(frozen=True)
class Counts:
    """What came of some studies of a cell; counts of studies unless it is said."""

    studies: int = 0
    covered: float = 0.0  # share of the pairs whose interval holds the truth, summed over studies
    wrong_pair: int = 0
    wrong_most_accurate: int = 0
    wrong_shown: int = 0
    shown: int = 0
    most_accurate: int = 0
    answers: int = 0
    wrong_choice: int = 0
    lost: float = 0.0  # accuracy, by wrong choices
    unsettled: int = 0  # no arm is shown
    wrong_unsettled: int = 0
    holds: int = 0
    at_worst: tuple[float, ...] = ()

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


def _luck(variance: float) -> float:
    """The luck on the latent scale that spreads an arm's accuracy by this variance, or as far as it goes."""

    def spread(luck: float) -> float:
        wide = _latent(luck)
        accuracies = norm.cdf((norm.ppf(TOP) * wide + luck * POINTS) / _latent(0.0))
        return float(WEIGHTS @ (accuracies - TOP) ** 2 / WEIGHTS.sum()) - variance

    if variance == 0:
        return 0.0
    return 20.0 if spread(20.0) < 0 else float(brentq(spread, 0.0, 20.0))


def _latent(luck: Any) -> Any:
    return np.sqrt(DIFFICULTY**2 + TASTE**2 + NOISE**2 + luck**2)


def draw(cell: Cell, generator: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """Studies without end: which runs are right on which examples, shape (arms, seeds, examples).

    A run is right where mean + difficulty of the example + how the arm takes to it + luck of the seed + noise is above
    0; all but the mean are normal, so that accuracies over all seeds and examples are exactly `cell.accuracies`.
    """
    lucks = cell.lucks()
    means = norm.ppf(cell.accuracies) * _latent(lucks)

    def normal(*shape: int) -> NDArray[np.float32]:
        return generator.standard_normal(shape, dtype=np.float32)

    while True:
        of_examples = np.float32(DIFFICULTY) * normal(1, cell.examples)
        of_examples = of_examples + np.float32(TASTE) * normal(cell.arms, cell.examples)
        of_seeds = (means[:, None] + lucks[:, None] * normal(cell.arms, cell.seeds)).astype(np.float32)
        noise = np.float32(NOISE) * normal(cell.arms, cell.seeds, cell.examples)
        yield noise + of_seeds[:, :, None] > -of_examples[:, None, :]


def judge(cell: Cell, correct: NDArray[np.bool_]) -> Counts:
    """What the verdict says of a study, and whether it is true."""
    truth = cell.accuracies
    loses = truth.max() - truth
    field = Field.measure(list(correct.astype(np.float64)))
    differences = truth[field.first] - truth[field.second]
    outside = 2 * field.error.tail(np.abs(field.centre - differences)) < RISK
    called = adjust_pairs(field.p_values, cell.arms) < RISK
    best = most_accurate(field)
    passed = np.flatnonzero(shown(field, MARGIN))
    choice = choose(field, MARGIN, range(cell.arms))
    wrong = bool(loses[choice.arm] >= MARGIN - 1e-9)
    stated = choice.at_worst
    return Counts(
        studies=1,
        covered=1 - float(outside.mean()),
        wrong_pair=bool((called & (field.centre * differences <= 0)).any()),
        wrong_most_accurate=best is not None and (loses[best] > 0 or bool((loses == 0).sum() > 1)),
        wrong_shown=bool((loses[passed] >= MARGIN - 1e-9).any()),
        shown=len(passed) > 0,
        most_accurate=best is not None,
        answers=stated is not None,
        wrong_choice=wrong,
        lost=float(loses[choice.arm]) * wrong,
        unsettled=len(passed) == 0,
        wrong_unsettled=wrong and len(passed) == 0,
        holds=stated is not None and bool(loses[choice.arm] <= stated),
        at_worst=() if stated is None else (stated,),
    )


def simulate(task: tuple[Cell, int, int]) -> Counts:
    """So many studies of a cell, drawn from a seed."""
    cell, studies, seed = task
    generator = np.random.default_rng([seed, *(ord(letter) for letter in repr(cell))])
    found = [judge(cell, correct) for correct, _ in zip(draw(cell, generator), range(studies), strict=False)]
    summed = sum((replace(counts, at_worst=()) for counts in found), Counts())
    return replace(summed, at_worst=tuple(stated for counts in found for stated in counts.at_worst))


def rates(cell: Cell, counts: Counts) -> dict[str, Any]:
    """A cell's row: shares of its studies from 0 to 1, accuracies as shares; see `Counts`."""
    names = ("covered", "wrong_pair", "wrong_most_accurate", "wrong_shown", "shown", "most_accurate", "answers")
    shares = {name: getattr(counts, name) / counts.studies for name in (*names, "wrong_choice", "holds", "unsettled")}
    return {
        **asdict(cell),
        "studies": counts.studies,
        **shares,
        "wrong_when_unsettled": counts.wrong_unsettled / counts.unsettled if counts.unsettled else None,
        "unsettled_studies": counts.unsettled,
        "mean_loss_of_choices": counts.lost / counts.studies,
        "median_at_worst": float(np.median(counts.at_worst)) if counts.at_worst else None,
    }


def cells(seeds: Sequence[int], shares: Sequence[float], examples: Sequence[int], arms: Sequence[int]) -> list[Cell]:
    """All kinds of study, those with one arm of wide luck last."""
    found = [Cell(*kind) for kind in product(BEHIND, seeds, shares, examples, arms)]
    return found + [Cell("equal", *kind, wide=True) for kind in product(seeds, {0.8} & set(shares), examples, arms)]


Rows = Sequence[dict[str, Any]]


def failures(rows: Rows) -> list[str]:
    """What must hold in every cell and does not, within two standard errors of the simulation."""
    found = []

    def check(row: dict[str, Any], name: str, bound: float, most: bool) -> None:
        error = 2 * math.sqrt(bound * (1 - bound) / row["studies"])
        value = row[name]
        if (most and value > bound + error) or (not most and value < bound - error):
            where = ", ".join(f"{key} {row[key]}" for key in ("scenario", "seeds", "share", "examples", "arms"))
            found.append(f"{name} is {100 * value:.1f}% where it may be {100 * bound:.0f}% ({where})")

    for row in rows:
        if row["wide"]:
            continue
        for name in ("wrong_pair", "wrong_most_accurate", "wrong_shown"):
            check(row, name, RISK, most=True)
        check(row, "answers", 0.95, most=False)
        check(row, "holds", 0.93, most=False)
        kind = (row["scenario"], row["seeds"], row["examples"])
        if kind == ("lead 3", 3, 2000) and row["share"] == 0.2:
            check(row, "shown", 0.75, most=False)
        if kind == ("lead 10", 3, 296) and row["share"] <= 0.2:
            check(row, "shown", 0.95, most=False)
    return found


def tables(rows: Rows) -> str:
    """The tables of docs/statistics.md, as Markdown; in %, of accuracy in points."""
    return "\n\n".join((_errors(rows), _found(rows), _choices(rows)))


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---:"] * len(headings)
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *lines))


def _percent(values: Sequence[float | None], pick: Any) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * pick(known):.1f}" if known else ""


def _groups(rows: Rows, *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _errors(rows: Rows) -> str:
    """The worst cell of each group."""
    lines = []
    for (wide, seeds, arms), group in _groups(rows, "wide", "seeds", "arms").items():
        columns = {name: [row[name] for row in group] for name in ("wrong_pair", "wrong_most_accurate", "wrong_shown")}
        lines.append(
            (
                f"{seeds}{', one arm wide' if wide else ''}",
                str(arms),
                _percent([row["covered"] for row in group], min),
                *(_percent(values, max) for values in columns.values()),
                _percent([row["holds"] for row in group], min),
            )
        )
    headings = ("seeds", "arms", "pairs' intervals hold", "a wrong pair", "wrong most accurate", "wrong shown")
    return _table((*headings, "worst loss holds"), lines)


def _found(rows: Rows) -> str:
    """How often a lead is shown, and the leader is shown to be the most accurate of all, for each number of arms."""
    leads = list(product((1, 3, 10), (0.2, 0.8)))
    lines = []
    for (seeds, examples), group in _groups(rows, "seeds", "examples").items():
        line = [str(seeds), f"{examples:,}"]
        for points, share in leads:
            found = [row for row in group if (row["scenario"], row["share"]) == (f"lead {points}", share)]
            rates = [[f"{100 * row[name]:.0f}" for row in found] for name in ("shown", "most_accurate")]
            line.append("; ".join(" ".join(of_arms) for of_arms in rates if of_arms))
        lines.append(line)
    names = [f"{points} point{'s' if points > 1 else ''}, {100 * share:.0f}%" for points, share in leads]
    return _table(("seeds", "examples", *names), lines)


def _choices(rows: Rows) -> str:
    """The second tier where all cheaper arms lose just more than the margin, and where the dearest leads clearly."""
    lines = []
    for (seeds, examples), group in _groups(rows, "seeds", "examples").items():
        line = [str(seeds), f"{examples:,}"]
        for scenario in ("rivals", "lead 3"):
            found = [row for row in group if row["scenario"] == scenario]
            wrong = [row["wrong_when_unsettled"] for row in found if row["unsettled_studies"] >= ENOUGH]
            line += [
                " to ".join(_percent(wrong, pick) for pick in (min, max)) if wrong else "",
                _percent([row["mean_loss_of_choices"] for row in found], np.mean),
                _percent([row["median_at_worst"] for row in found], np.mean),
            ]
        lines.append(line)
    headings = [f"{name}, {kind}" for kind in ("rivals", "lead of 3") for name in ("wrong", "mean loss", "worst loss")]
    return _table(("seeds", "examples", *headings), lines)


def wrong_choices(rows: Rows) -> list[dict[str, Any]]:
    """What a study's verdict says of its second tier: see `tuneoff.analysis.choice.wrong_rate`.

    Of each size (seeds, test examples, arms) the least and the highest rate over the seeds' shares, of those in which
    enough studies left the matter unsettled.
    """
    rivals = [row for row in rows if row["scenario"] == "rivals"]
    found = []
    for size, group in _groups(rivals, "seeds", "examples", "arms").items():
        known = [row["wrong_when_unsettled"] for row in group if row["unsettled_studies"] >= ENOUGH]
        if known:
            found.append({"size": list(size), "wrong": [round(pick(known), 3) for pick in (min, max)]})
    return found


def main() -> int:
    """Carries out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="made up in each cell (%(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at a time (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all cells are written, a list of objects")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="numbers of seeds")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="seeds' shares of a run's variance")
    parser.add_argument("--examples", type=int, nargs="+", default=EXAMPLES, help="numbers of test examples")
    parser.add_argument("--arms", type=int, nargs="+", default=ARMS, help="numbers of arms")
    parser.add_argument("--update", action="store_true", help="write how often choices are wrong into tuneoff's source")
    given = parser.parse_args()
    wanted = cells(given.seeds, given.shares, given.examples, given.arms)
    sizes = [STUDIES_A_TASK] * (given.studies // STUDIES_A_TASK)
    sizes += [given.studies % STUDIES_A_TASK] if given.studies % STUDIES_A_TASK else []
    tasks = [(cell, size, 1000 * given.seed + number) for cell in wanted for number, size in enumerate(sizes)]
    with ProcessPoolExecutor(given.processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        found = list(pool.map(simulate, tasks, chunksize=1))
    rows = []
    for place, cell in enumerate(wanted):
        counts = found[place * len(sizes) : (place + 1) * len(sizes)]
        rows.append(rates(cell, sum(counts, Counts())))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    if given.update:
        CHOICES.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in wrong_choices(rows)) + "\n]\n")
    print(tables(rows))
    failed = failures(rows)
    print("\n" + "\n".join(failed or ["Every requirement holds within two standard errors."]))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
