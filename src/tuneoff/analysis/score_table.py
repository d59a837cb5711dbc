"""What each test example adds to the objective of each of an arm's runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from tuneoff.analysis.statistics import Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.tasks.contributions import Contributions
    from tuneoff.tasks.objectives.base import Objective


@dataclass(frozen=True)
class ScoreTable:
    """An arm's scores.

    Attributes:
        values: shape (seeds, examples); the mean of a row is the objective of a run.
        unit, largest: how far one example moves the objective (`Contributions`), on average over runs.
    """

    values: NDArray[np.float64]
    unit: float
    largest: float

    @classmethod
    def of(cls, runs: Sequence[Contributions]) -> Self:
        """From those of its runs; without any there are no rows."""
        if not runs:
            return cls(np.zeros((0, 0)), 1.0, 1.0)
        unit, largest = (float(np.mean([getattr(run, name) for run in runs])) for name in ("unit", "largest"))
        return cls(np.stack([run.values for run in runs]), unit, largest)


def common_scale(objective: type[Objective], tables: Iterable[ScoreTable]) -> Scale:
    """That of the objective, by which arms with these scores are compared."""
    units = [table.unit for table in tables if len(table.values)]
    return Scale(float(np.mean(units)) if units else 1.0, objective.span())
