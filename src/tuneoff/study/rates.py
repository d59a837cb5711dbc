"""Learning rates where a study names none: where the search for one begins, and where it is not searched for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.files import read_json

if TYPE_CHECKING:
    from tuneoff.methods import Method

WIDTHS = ("hidden_size", "dim", "n_embd", "d_model")
"""What architectures call the width of their hidden states."""
USUAL_WIDTH = 768
USUAL_STEPS = 1000
"""The model and the length of training that a method's `starting_rate` is for."""
FEWEST_STEPS, MOST_STEPS = 30, 10_000
"""Beyond these the number of steps moves the rate no further."""
STEPS_POWER = 0.25
RULE = "times 768 / the model's width, times (1,000 / steps) to the power of 1/4"
"""How `starting_rate` depends on model and steps, in words: docs/tuning.md has the measurements behind it."""


def model_width(model_folder: Path) -> int:
    """The width of a model's hidden states; 768 where its configuration does not name it."""
    config = read_json(model_folder / "config.json")
    return next((config[name] for name in WIDTHS if isinstance(config.get(name), int)), USUAL_WIDTH)


def starting_rate(method: Method | type[Method], width: int, steps: int) -> float:
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


def at_starting_rates(arms: Sequence[Method], width: int, steps: int) -> list[Method]:
    """The arms, those that name no learning rate at the one that their search begins at."""
    return [arm if arm.learning_rate is not None else at_rate(arm, starting_rate(arm, width, steps)) for arm in arms]


def at_rate(arm: Method, rate: float) -> Method:
    """An arm with another learning rate."""
    return arm.model_copy(update={"learning_rate": rate})


def two_digits(rate: float) -> float:
    """A rate as people write it."""
    return float(f"{rate:.1e}")
