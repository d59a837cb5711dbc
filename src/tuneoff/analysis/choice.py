"""The arm to take where one must be taken before any is shown to be good enough."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from tuneoff.analysis.comparisons import ComparedArms, in_points
from tuneoff.analysis.costs import PREFERENCES, comparable, ranked
from tuneoff.analysis.statistics import Choice, Field, at_worst, choose

SIMULATED_MARGIN = 0.01
SIMULATED = (
    "The simulated studies in which a choice like this was wrong so often are hard ones: every cheaper arm lost "
    f"just over {in_points(SIMULATED_MARGIN)} against the dearest, and no arm was shown to be good enough."
)
"""What a reader of `wrong_rate` must know."""
ALIKE = 2.0
"""So many times more or fewer seeds, test examples or arms than in a simulation, and its figures are still quoted."""
HELPS = 0.9
"""A third seed is worth naming where it brings the worst loss at least to this share."""


def choose_now(
    compared: ComparedArms, candidates: Sequence[Mapping[str, Any]], margin: float, preference: str, against: str
) -> dict[str, Any]:
    """The cheapest candidate that is likely to lose less than the margin, or else the likeliest, as plain JSON.

    Args:
        compared: two arms or more.
        candidates: of them, entries of the summary.
        margin: accuracy that may be lost.
        preference: a key of `PREFERENCES`; where that cost is not known or cannot be compared, the higher mean counts.
        against: the other arms that are compared, in words.

    Returns:
        `arm`; `likely` (a bool); `at_worst`, the most accuracy that it loses against the best of the others (95%;
        None where there are fewer than two seeds); `wrong_rate`, see `wrong_rate`; `sentence`, what is to be said.
    """
    cost, least = PREFERENCES[preference]
    by_cost = len(ranked(candidates, cost)) == len(candidates) and comparable(candidates, cost)
    in_order = sorted(candidates, key=lambda arm: (arm[cost] if by_cost else 0.0, -arm["test_accuracy"]["mean"]))
    field = compared.field
    choice = choose(field, margin, [compared.names.index(arm["arm"]) for arm in in_order])
    seeds = int(min(field.seeds, default=1))
    rate = wrong_rate(seeds, field.examples, field.arms, margin)
    name = compared.names[choice.arm]
    enough = "accurate enough and " if len(candidates) < field.arms else ""
    likely = f"{enough}likely to lose less than {in_points(margin)} of accuracy against {against}"
    if not choice.likely:
        said = f"no arm is {likely}; {name} comes nearest"
    elif choice.likely == 1:
        said = f"only {name} is {likely}"
    else:
        said = f"of the {choice.likely} arms {likely}, {name} {least if by_cost else 'is the most accurate'}"
    if choice.at_worst is None:
        runs = "By one run each" if seeds == 1 else "By the few runs that can be compared"
        sentences = [f"{runs}, {said}; no worst loss can be stated."]
    else:
        sure = f"95%{_with_third_seed(field, choice) if seeds == 2 else ''}"
        sentences = [f"{said[0].upper()}{said[1:]}, and loses at most {_points(choice.at_worst)} ({sure})."]
    if rate is not None:
        shares = " to ".join(dict.fromkeys(f"{100 * share:.0f}" for share in rate))
        sentences.append(f"Such a choice was wrong in {shares}% of simulated studies of this size.")
    return {
        "arm": name,
        "likely": choice.likely > 0,
        "at_worst": choice.at_worst,
        "wrong_rate": rate,
        "sentence": " ".join(sentences),
    }


def _with_third_seed(field: Field, choice: Choice) -> str:
    """What is added to the worst loss with two seeds, where a third one would make it clearly less."""
    then = at_worst(field.resized(3, field.examples), choice.arm)
    if then is None or choice.at_worst is None or then >= HELPS * choice.at_worst:
        return ""
    return f"; about {_points(then)} with a third seed"


def only_choice(arm: str, why: str) -> dict[str, Any]:
    """As `choose_now`, for the one arm that is left, with one run."""
    sentence = f"{why[:-1]}; with one run, no worst loss can be stated."
    return {"arm": arm, "likely": False, "at_worst": None, "wrong_rate": None, "sentence": sentence}


def wrong_rate(seeds: int, examples: int, arms: int, margin: float) -> list[float] | None:
    """How often such a choice was wrong in simulated studies of about this size: least and most, from 0 to 1.

    In these studies no arm was shown to be good enough, and all arms but the dearest lost just more than the margin.
    The more of the noise comes from seeds, the higher it was. None where no simulation is near, for one seed,
    and for another margin.

    Source: `benchmarks/verdict_simulation.py`, which writes the file read here.
    """
    if margin != SIMULATED_MARGIN or seeds < 2:
        return None
    size = (seeds, examples, arms)
    near = {
        sum(abs(math.log(mine / its)) for mine, its in zip(size, entry["size"], strict=True)): entry["wrong"]
        for entry in _simulated()
        if all(1 / ALIKE <= mine / its <= ALIKE for mine, its in zip(size, entry["size"], strict=True))
    }
    return near[min(near)] if near else None


@cache
def _simulated() -> list[dict[str, Any]]:
    text = files("tuneoff.analysis").joinpath("wrong_choices.json").read_text(encoding="utf-8")
    return list(json.loads(text))


def _points(loss: float) -> str:
    return f"{100 * loss:.1f} points"
