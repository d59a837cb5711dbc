"""The arms against a baseline, example by example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.analysis.statistics import OF_ACCURACY, RISK, Field, PairedDifference, Scale, holm
from tuneoff.records.arm_summary import ArmSummary, ScoredArm

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class AgainstBaseline:
    """An arm minus a baseline.

    Attributes:
        arm: its name.
        difference: over the arm's seeds; a baseline is fitted once, and its own luck is not part of the noise.
        p_holm: two-sided, after Holm's correction over the arms.
    """

    arm: str
    difference: PairedDifference
    p_holm: float

    @property
    def beaten(self) -> bool:
        """Whether the arm is shown to be better."""
        return self.p_holm < RISK and self.difference.difference.mean > 0


def against_baseline(
    arms: Sequence[ArmSummary],
    tables: Mapping[str, NDArray[np.float64]],
    baseline: NDArray[np.float64],
    scale: Scale = OF_ACCURACY,
) -> list[AgainstBaseline]:
    """Compares each arm that has results with a baseline.

    Args:
        arms: of the summary.
        tables: by arm, what each example adds to the metric, shape (seeds, examples), rows in the order of the arm's
            `seeds`.
        baseline: likewise of the baseline, shape (examples,).
        scale: of the metric.
    """
    scored = [arm for arm in arms if isinstance(arm, ScoredArm)]
    if not scored:
        return []
    seeds = sorted({seed for arm in scored for seed in arm.seeds})
    field = Field.measure(
        [*(tables[arm.arm] for arm in scored), np.broadcast_to(baseline, (len(seeds), len(baseline)))],
        [*(arm.seeds for arm in scored), seeds],
        [*(arm.learned for arm in scored), False],
        [(arm, len(scored)) for arm in range(len(scored))],
        scale,
    )
    found = [PairedDifference.of(field, pair) for pair in range(len(scored))]
    adjusted = holm([difference.p_value for difference in found])
    return [
        AgainstBaseline(arm.arm, difference, p_holm)
        for arm, difference, p_holm in zip(scored, found, adjusted, strict=True)
    ]
