"""How often a forecast of twice the training examples holds, in made-up studies whose learning curve is known.

    python benchmarks/forecast_simulation.py --json forecast.json     the table of docs/statistics.md
    python benchmarks/forecast_simulation.py --studies 100            roughly

It calls the very function that a study's analysis calls, on tables of which run is right on which test example, at
sizes that double. Ends with 1 where an interval holds the truth less often than it must.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tuneoff.analysis.statistics import UnknowableError, extrapolate

CURVES: dict[str, Callable[[float], float]] = {
    "power, no floor": lambda n: 0.35 * n**-0.3,
    "power": lambda n: 0.08 + 0.27 * n**-0.5,
    "power, steep": lambda n: 0.12 + 0.23 * n**-1.2,
    "logarithm": lambda n: 0.35 - 0.05 * math.log2(n),
    "exponential": lambda n: 0.12 + 0.23 * math.exp((1 - n) / 3),
    "from guessing": lambda n: 0.1 + 0.4 / (1 + (n / 2) ** 1.5),
    "flat": lambda n: 0.2,
}
"""The error at n times the smallest size. Those of powers, logarithm and flat are of the family that is fitted, or its
limits; the two others begin slowly, and end more suddenly than it can."""
SEEDS, SIZES, EXAMPLES, LUCKS = (2, 3, 5), (3, 4), (300, 1000), (0.01, 0.03)
DIFFICULTY, TASTE, NOISE = 1.0, 0.2, 0.3
"""Standard deviations of what an example adds for all runs, for those of one size, and for one run, as in
verdict_simulation.py."""
LEAST = {"power, no floor": 0.93, "power": 0.93, "power, steep": 0.9, "logarithm": 0.9, "flat": 0.85}
"""How often an interval must hold the truth; of other curves nothing is promised."""


@dataclass(frozen=True)
class Cell:
    """A kind of study; `luck` is the standard deviation of seeds' accuracies."""

    curve: str
    seeds: int
    sizes: int
    examples: int
    luck: float

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """The truth at each size, and at twice the largest."""
        return 1 - np.array([CURVES[self.curve](2.0**step) for step in range(self.sizes + 1)])


def draw(cell: Cell, generator: np.random.Generator) -> NDArray[np.float64]:
    """A study: which runs are right on which examples, shape (sizes, seeds, examples)."""
    quantiles = norm.ppf(cell.accuracies[:-1])
    still = math.sqrt(DIFFICULTY**2 + TASTE**2 + NOISE**2)
    lucks = cell.luck * still / norm.pdf(quantiles)
    means = quantiles * np.sqrt(still**2 + lucks**2)
    shape = (cell.sizes, cell.seeds, cell.examples)
    latent = DIFFICULTY * generator.standard_normal(cell.examples)
    latent = latent + TASTE * generator.standard_normal((cell.sizes, 1, cell.examples))
    latent = latent + NOISE * generator.standard_normal(shape)
    of_seeds = means[:, None] + lucks[:, None] * generator.standard_normal(shape[:2])
    return (latent + of_seeds[:, :, None] > 0).astype(np.float64)


def simulate(cell: Cell, studies: int, seed: int) -> dict[str, Any]:
    """A cell's row: of how many studies nothing is told; of the others how often intervals hold, and their width."""
    generator = np.random.default_rng([seed, *(ord(letter) for letter in repr(cell))])
    truth, gain = cell.accuracies[-1], cell.accuracies[-1] - cell.accuracies[-2]
    sizes = [100 * 2**step for step in range(cell.sizes)]
    found = []
    for _ in range(studies):
        try:
            found.append(extrapolate(list(draw(cell, generator)), sizes, 2 * sizes[-1]))
        except UnknowableError:
            continue
    told = len(found)
    return {
        **asdict(cell),
        "studies": studies,
        "told": told / studies,
        "accuracy_held": _mean([one.accuracy.low <= truth <= one.accuracy.high for one in found]),
        "gain_held": _mean([one.gain.low <= gain <= one.gain.high for one in found]),
        "gain": gain,
        "mean_gain": _mean([one.gain.mean for one in found]),
        "accuracy_width": _mean([one.accuracy.high - one.accuracy.low for one in found]),
        "gain_width": _mean([one.gain.high - one.gain.low for one in found]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def failures(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What must hold and does not, within two standard errors of the simulation."""
    found = []
    for row, name in product(rows, ("accuracy_held", "gain_held")):
        bound, told = LEAST.get(row["curve"], 0.0), row["told"] * row["studies"]
        if told and row[name] < bound - 2 * math.sqrt(bound * (1 - bound) / told):
            where = ", ".join(f"{key} {row[key]}" for key in ("curve", "seeds", "sizes", "examples", "luck"))
            found.append(f"{name} is {100 * row[name]:.1f}% where it must be {100 * bound:.0f}% ({where})")
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The table of docs/statistics.md, as Markdown: over numbers of test examples and lucks of seeds."""
    headings = (
        "curve", "sizes", "seeds", "told, %", "accuracy held, %", "gain held, %", "gain", "its forecast",
        "width, accuracy", "width, gain",
    )  # fmt: skip
    lines: list[Sequence[str]] = [headings, ["---", *["---:"] * (len(headings) - 1)]]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["curve"], row["sizes"], row["seeds"]), []).append(row)
    for (curve, sizes, seeds), group in groups.items():
        columns = {
            name: [100 * row[name] for row in group if row[name] is not None] for name in group[0] if name in NAMES
        }
        worst = [f"{min(columns[name]):.0f} to {max(columns[name]):.0f}" for name in NAMES[:3]]
        means = [f"{np.mean(columns[name]):.1f}" for name in NAMES[3:]]
        lines.append([curve, str(sizes), str(seeds), *worst, *means])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


NAMES = ("told", "accuracy_held", "gain_held", "gain", "mean_gain", "accuracy_width", "gain_width")


def main() -> int:
    """Carries out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="made up in each cell (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all cells are written, a list of objects")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (%(default)s)")
    parser.add_argument("--curves", nargs="+", default=list(CURVES), choices=CURVES, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="numbers of seeds")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of training sizes")
    parser.add_argument("--examples", type=int, nargs="+", default=EXAMPLES, help="numbers of test examples")
    parser.add_argument("--lucks", type=float, nargs="+", default=LUCKS, help="standard deviations of accuracies")
    given = parser.parse_args()
    kinds = product(given.curves, given.seeds, given.sizes, given.examples, given.lucks)
    rows = [simulate(Cell(*kind), given.studies, given.seed) for kind in kinds]
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    failed = failures(rows)
    print("\n" + "\n".join(failed or ["Every requirement holds within two standard errors."]))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
