"""The arm to take where one must be taken before any is shown to be good enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from pydantic import TypeAdapter

from tuneoff.analysis.comparisons import ComparedArms, in_points
from tuneoff.analysis.costs import PREFERENCES, known_cost, not_comparable, ranked
from tuneoff.analysis.statistics import Choice, Field, at_worst, choose
from tuneoff.analysis.wording import ACCURACY, best, good_enough
from tuneoff.records.arm_summary import ScoredArm
from tuneoff.records.recommendation import ChooseNow, Preference
from tuneoff.records.record import Record

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
    compared: ComparedArms, candidates: Sequence[ScoredArm], margin: float, preference: Preference, against: str
) -> ChooseNow:
    """The cheapest candidate that is likely to lose less than the margin, or else the likeliest.

    Args:
        compared: two arms or more.
        candidates: of them, entries of the summary.
        margin: of the metric, that may be lost.
        preference: a key of `PREFERENCES`; where that cost is not known or cannot be compared, the higher mean counts.
        against: the other arms that are compared, in words.
    """
    cost, least = PREFERENCES[preference]
    by_cost = len(ranked(candidates, cost)) == len(candidates) and not_comparable(candidates, cost) is None
    in_order = sorted(candidates, key=lambda arm: (known_cost(arm, cost) if by_cost else 0.0, -arm.test_score.mean))
    field = compared.field
    choice = choose(field, margin, [compared.names.index(arm.arm) for arm in in_order])
    seeds = int(min(field.seeds, default=1))
    rate = wrong_rate(seeds, field.examples, field.arms, margin) if compared.metric == ACCURACY else None
    name = compared.names[choice.arm]
    enough = f"{good_enough(compared.metric)} and " if len(candidates) < field.arms else ""
    likely = f"{enough}likely to lose less than {in_points(margin)} of {compared.metric} against {against}"
    if not choice.likely:
        said = f"no arm is {likely}; {name} comes nearest"
    elif choice.likely == 1:
        said = f"only {name} is {likely}"
    else:
        said = f"of the {choice.likely} arms {likely}, {name} {least if by_cost else f'is {best(compared.metric)}'}"
    if choice.at_worst is None:
        runs = "By one run each" if seeds == 1 else "By the few runs that can be compared"
        sentences = [f"{runs}, {said}; no worst loss can be stated."]
    else:
        sure = f"95%{_with_third_seed(field, choice) if seeds == 2 else ''}"
        sentences = [f"{said[0].upper()}{said[1:]}, and loses at most {_points(choice.at_worst)} ({sure})."]
    if rate is not None:
        percent = " to ".join(dict.fromkeys(f"{100 * wrong:.0f}" for wrong in rate))
        sentences.append(f"Such a choice was wrong in {percent}% of simulated studies of this size.")
    return ChooseNow(
        arm=name,
        likely=choice.likely > 0,
        at_worst=choice.at_worst,
        wrong_rate=rate,
        sentence=" ".join(sentences),
    )


def _with_third_seed(field: Field, choice: Choice) -> str:
    """What is added to the worst loss with two seeds, where a third one would make it clearly less."""
    then = at_worst(field.resized(3, field.examples), choice.arm)
    if then is None or choice.at_worst is None or then >= HELPS * choice.at_worst:
        return ""
    return f"; about {_points(then)} with a third seed"


def only_choice(arm: str, why: str) -> ChooseNow:
    """As `choose_now`, for the one arm that is left, with one run."""
    sentence = f"{why[:-1]}; with one run, no worst loss can be stated."
    return ChooseNow(arm=arm, likely=False, at_worst=None, wrong_rate=None, sentence=sentence)


def wrong_rate(seeds: int, examples: int, arms: int, margin: float) -> tuple[float, float] | None:
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
        sum(abs(math.log(mine / its)) for mine, its in zip(size, entry.size, strict=True)): entry.wrong
        for entry in _simulated()
        if all(1 / ALIKE <= mine / its <= ALIKE for mine, its in zip(size, entry.size, strict=True))
    }
    return near[min(near)] if near else None


class _Simulated(Record):
    """Studies that were simulated."""

    size: tuple[int, int, int]
    """seeds, test examples, arms"""
    wrong: tuple[float, float]
    """how often a choice was wrong, least and most"""


@cache
def _simulated() -> list[_Simulated]:
    text = files("tuneoff.analysis").joinpath("wrong_choices.json").read_text(encoding="utf-8")
    return TypeAdapter(list[_Simulated]).validate_json(text)


def _points(loss: float) -> str:
    return f"{100 * loss:.1f} points"
