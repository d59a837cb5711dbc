"""Made-up studies whose truth is known: which test examples runs get right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Correct = NDArray[np.float32]


@dataclass(frozen=True)
class Setting:
    """How studies are drawn.

    A run is right where mean + difficulty of the example (alike for all arms) + how the arm takes to the example + luck
    of the seed + noise is above 0; all but the mean are normal, with these standard deviations, the difficulty's being
    1. The mean is set so that an arm's accuracy, over all seeds and examples there could be, is exactly `accuracies`.
    """

    seeds: int
    examples: int
    accuracies: tuple[float, ...]
    arm_spread: float = 0.5
    seed_spread: float = 0.1
    noise: float = 0.5


def studies(setting: Setting, count: int, generator_seed: int) -> Iterator[Sequence[Correct]]:
    """So many studies: for each arm which examples its runs got right, shape (seeds, examples)."""
    draw = np.random.default_rng(generator_seed)
    spread = np.sqrt(1 + setting.arm_spread**2 + setting.seed_spread**2 + setting.noise**2)
    means = norm.ppf(setting.accuracies) * spread
    shape = (setting.seeds, setting.examples)

    def normal(size: tuple[int, ...], deviation: float) -> NDArray[np.float32]:
        return draw.standard_normal(size, dtype=np.float32) * np.float32(deviation)

    for _ in range(count):
        difficulty = normal((1, setting.examples), 1.0)
        yield [
            (
                difficulty
                + normal((1, setting.examples), setting.arm_spread)
                + normal((setting.seeds, 1), setting.seed_spread)
                + normal(shape, setting.noise)
                > -np.float32(mean)
            ).astype(np.float32)
            for mean in means
        ]
