"""Learning rates where a study names none: where the search for one begins, and where it is not searched for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneoff.models.architecture import USUAL_WIDTH

if TYPE_CHECKING:
    from tuneoff.spec.arms import ArmSpec

USUAL_STEPS = 1000
"""The length of training that a method's `starting_rate` is for, with a model of the usual width."""
FEWEST_STEPS, MOST_STEPS = 30, 10_000
"""Beyond these the number of steps moves the rate no further."""
STEPS_POWER = 0.25
RULE = "times 768 / the model's width, times (1,000 / steps) to the power of 1/4"
"""How `starting_rate` depends on model and steps, in words: docs/tuning.md has the measurements behind it."""


def starting_rate(method: ArmSpec | type[ArmSpec], width: int, steps: int) -> float:
    """The learning rate that an arm without one starts its search at, two digits.

    Wider models want smaller steps, in proportion (Yang et al. 2021, Tensor Programs V, for Adam); shorter training
    wants larger ones. Encoders and decoders of 6 and 30 blocks differed by nothing else that could be measured.

    Args:
        method: that trains.
        width: of the model's hidden states.
        steps: optimiser steps of a run.
    """
    assert method.starting_rate is not None
    length = min(max(steps, FEWEST_STEPS), MOST_STEPS)
    return two_digits(method.starting_rate * USUAL_WIDTH / width * (USUAL_STEPS / length) ** STEPS_POWER)


def at_starting_rates(arms: Sequence[ArmSpec], width: int, steps: int) -> list[ArmSpec]:
    """The arms, those that name no learning rate at the one that their search begins at."""
    return [arm if arm.learning_rate is not None else at_rate(arm, starting_rate(arm, width, steps)) for arm in arms]


def at_rate(arm: ArmSpec, rate: float) -> ArmSpec:
    """An arm with another learning rate."""
    return arm.model_copy(update={"learning_rate": rate})


def two_digits(rate: float) -> float:
    """A rate as people write it."""
    return float(f"{rate:.1e}")
