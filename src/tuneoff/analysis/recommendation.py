"""Which arm to use: the cheapest that is shown to lose no more accuracy than a margin, or the one to take meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuneoff.analysis.choice import choose_now, only_choice
from tuneoff.analysis.comparisons import ComparedArms, in_points
from tuneoff.analysis.costs import PREFERENCES, UNMERGED, comparable
from tuneoff.analysis.costs import ranked as ranked_by
from tuneoff.analysis.fitness import Unfit, none_is_fit
from tuneoff.analysis.limits import beyond_limits
from tuneoff.analysis.statistics import (
    RISK,
    adjust_pairs,
    most_accurate,
    needed_to_show,
    shown,
)

Arms = Sequence[Mapping[str, Any]]


def recommend(
    arms: Arms,
    compared: ComparedArms | None,
    margin: float,
    preference: str,
    limits: Mapping[str, float | None],
    unfit: Mapping[str, Unfit],
) -> dict[str, Any]:
    """Chooses an arm that is shown to be good enough, or else the one to take if one must be taken now.

    What is shown: the arm's expected accuracy (over seeds and test examples) is less than `margin` below that of the
    best arm within the limits, whichever that is. The risk that this is wrong of any arm is 5%, so that the cheapest
    may be picked out of those of which it is shown, and it is harmless to try several preferences.

    Args:
        arms: of the summary.
        compared: those that have results, with what their pairs show.
        margin: accuracy that may be lost.
        preference: a key of `PREFERENCES`.
        limits: `max_memory` in bytes, `max_train_time` in seconds, `min_accuracy` from 0 to 1; None for no limit.
        unfit: arms that are neither named nor compared with; see `unfit_arms`.

    Returns:
        `arm` (None where none is shown to be good enough), `choose_now` (then; see `choice.choose_now`; None where no
        arm can be named, and the reason says why), `best` (the highest mean), `ties_with_best` (arms that it is not
        shown to be better than), `margin`, `prefer`, `limits`, `reason`, `more_seeds`, `test_examples`, `times` (what
        would be needed; None where it would not help or nothing is needed), `shown` (arms that are good enough,
        cheapest first), `excluded` (`arm` and `why`). No `reason` begins with the name of an arm.
    """
    excluded = [{"arm": name, "why": found.why} for name, found in unfit.items()]
    fit = [arm for arm in arms if arm["arm"] not in unfit]
    excluded += beyond_limits(fit, limits)
    answer: dict[str, Any] = {
        "arm": None,
        "choose_now": None,
        "best": None,
        "ties_with_best": [],
        "margin": margin,
        "prefer": preference,
        "limits": dict(limits),
        "reason": "",
        "more_seeds": None,
        "test_examples": None,
        "times": None,
        "shown": [],
        "excluded": excluded,
    }
    left_out = {entry["arm"] for entry in excluded}
    within = [arm for arm in fit if arm["runs"] and arm["arm"] not in left_out]
    if not within:
        return answer | {"reason": _nobody(arms, unfit)}
    if len(within) == 1:
        return answer | _alone(within[0], arms, unfit, limits)
    ranked = [arm for arm in within if arm["runs"] > 1]
    candidates = ranked if len(ranked) > 1 else within
    good_enough = [arm for arm in candidates if _reaches(arm, limits)]
    assert compared is not None
    field = compared.among([arm["arm"] for arm in candidates])

    against = _against(len(field.names), within, arms, unfit)

    def meanwhile(reason: str) -> dict[str, Any]:
        return {"reason": reason, "choose_now": choose_now(field, good_enough, margin, preference, against)}

    excluded += [
        {"arm": arm["arm"], "why": "it has one seed, which never ranks methods"}
        for arm in within
        if arm not in candidates
    ]
    excluded += [
        {"arm": arm["arm"], "why": f"its mean accuracy is below {_percent(limits['min_accuracy'])}"}
        for arm in candidates
        if arm not in good_enough
    ]
    if not good_enough:
        return answer | {"reason": f"No arm reaches an accuracy of {_percent(limits['min_accuracy'])}."}
    if len(ranked) < 2:
        return answer | meanwhile(
            "One seed never ranks methods. At least two seeds an arm are needed to show anything."
        )
    answer |= _best(field)
    passed = [name for name, good in zip(field.names, shown(field.field, margin), strict=True) if good]
    found = [arm for arm in good_enough if arm["arm"] in passed]
    if not found:
        needed = _needed(field, [arm["arm"] for arm in good_enough], margin)
        return answer | needed | meanwhile(f"No clear winner yet. {needed['reason']}")
    cost, least = PREFERENCES[preference]
    known = ranked_by(found, cost)
    names = ", ".join(arm["arm"] for arm in found)
    if not known:
        return answer | meanwhile(f"No arm that is accurate enough ({names}) has a known {cost}.")
    excluded += [
        {"arm": arm["arm"], "why": f"its {cost} is {'not known' if arm[cost] is None else UNMERGED}"}
        for arm in found
        if arm not in known
    ]
    if not comparable(known, cost):
        reason = f"The times of {names} cannot be compared: only some of them ran alone on their device."
        return answer | meanwhile(reason)
    known.sort(key=lambda arm: (arm[cost], -arm["test_accuracy"]["mean"]))
    chosen = known[0]
    name = chosen["arm"]
    claim = f"shown to lose less than {in_points(margin)} of accuracy against {against}"
    if name == answer["best"] and not answer["ties_with_best"]:
        reason = f"{against[0].upper()}{against[1:]} is less accurate{_and_least(known, name, least)}."
    elif len(known) > 1:
        reason = f"Of the {len(known)} arms {claim}, {name} {least}."
    else:
        reason = f"Only {name} is {claim}."
    return answer | {
        "arm": chosen["arm"],
        "shown": [arm["arm"] for arm in known],
        "reason": reason + _reaches_below(chosen, limits),
    }


def _nobody(arms: Arms, unfit: Mapping[str, Unfit]) -> str:
    """Why no arm is left."""
    scored = [arm["arm"] for arm in arms if arm["runs"]]
    if not scored:
        return "No run succeeded." if any(arm.get("failed") for arm in arms) else "No run has ended yet."
    if any(name not in unfit for name in scored):
        return "No arm is within the limits."
    return none_is_fit(unfit) if len(scored) > 1 else f"Only {scored[0]} has results: {unfit[scored[0]].why}."


def _against(compared: int, within: Arms, arms: Arms, unfit: Mapping[str, Unfit]) -> str:
    """The other arms that a claim is about."""
    which = []
    if unfit:
        beaten = any(found.learned for found in unfit.values())
        which.append("that beats the majority class" if beaten else "that learned")
    if len(within) < sum(bool(arm["runs"]) for arm in arms) - len(unfit):
        which.append("within the limits")
    if compared < len(within):
        which.append("with several seeds")
    return " ".join(["every other arm" if compared > 2 else "the other arm", *which])


def _best(compared: ComparedArms) -> dict[str, Any]:
    """The arm of highest mean, and the arms that it is not shown to be better than."""
    field = compared.field
    best = int(field.accuracies.argmax())
    if most_accurate(field) == best:
        return {"best": compared.names[best], "ties_with_best": []}
    better = (adjust_pairs(field.p_values, field.arms) < RISK) & (field.seeds > 1)
    behind = field.matrix(better & (field.centre > 0), better & (field.centre < 0), absent=0.0)[best]
    ties = [name for place, name in enumerate(compared.names) if place != best and not behind[place]]
    return {"best": compared.names[best], "ties_with_best": ties}


def _needed(compared: ComparedArms, candidates: Sequence[str], margin: float) -> dict[str, Any]:
    """What it would take to show one of the candidates to be close enough; `reason` says it in words."""
    field = compared.field
    nothing = {"more_seeds": None, "test_examples": None, "times": None}
    if len(field.first) < field.arms * (field.arms - 1) // 2 or (field.seeds < 2).any():
        return nothing | {"reason": "Every two arms must have two seeds in common to show anything."}
    needed = needed_to_show(field, margin, [compared.names.index(name) for name in candidates])
    to_show = f"To show that an arm loses less than {in_points(margin)}"
    if needed.seeds is not None:
        more = max(1, needed.seeds - int(field.seeds.min()))
        what = f"about {more} more {'seed' if more == 1 else 'seeds'} an arm"
        return nothing | {"more_seeds": more, "reason": f"{to_show} would take {what}."}
    if needed.test_examples is not None:
        what = f"about {needed.test_examples:,} test examples ({field.examples:,} now)"
        return nothing | {"test_examples": needed.test_examples, "reason": f"{to_show} would take {what}."}
    if needed.times is not None:
        what = f"about {needed.times} times as many seeds, and as many times the test examples"
        return nothing | {"times": needed.times, "reason": f"{to_show} would take {what}."}
    reason = "By the differences seen, no amount of seeds and test examples is likely to show so small a loss."
    return nothing | {"reason": reason}


def _alone(
    arm: Mapping[str, Any], arms: Arms, unfit: Mapping[str, Unfit], limits: Mapping[str, float | None]
) -> dict[str, Any]:
    """What is said of an arm that no other is left to be compared with."""
    scored = sum(bool(other["runs"]) for other in arms)
    if scored == 1:
        return {"reason": f"Only {arm['arm']} has results, so there is nothing to compare with."}
    if not _reaches(arm, limits):
        return {
            "reason": f"The only arm within the other limits is less accurate than {_percent(limits['min_accuracy'])}."
        }
    if scored - 1 > len(unfit):
        reason = "No other arm is within the limits; nothing is claimed of the accuracy of those beyond them."
    elif any(found.learned for found in unfit.values()):
        reason = "No other arm is shown to beat the majority class."
    else:
        reason = "No other arm learned this task."
    if arm["runs"] == 1 and unfit:
        return {"reason": "One seed never ranks methods.", "choose_now": only_choice(arm["arm"], reason)}
    return {"arm": arm["arm"], "best": arm["arm"], "reason": reason + _reaches_below(arm, limits)}


def _reaches(arm: Mapping[str, Any], limits: Mapping[str, float | None]) -> bool:
    lowest = limits["min_accuracy"]
    return lowest is None or bool(arm["test_accuracy"]["mean"] >= lowest)


def _reaches_below(arm: Mapping[str, Any], limits: Mapping[str, float | None]) -> str:
    lowest = limits["min_accuracy"]
    if lowest is None or arm["test_accuracy"]["ci_low"] >= lowest:
        return ""
    return f" The mean accuracy of {arm['arm']} reaches {_percent(lowest)}, but its interval begins below."


def _and_least(known: Arms, name: str, least: str) -> str:
    return f"; of the {len(known)} that come close, {name} {least}" if len(known) > 1 else ""


def _percent(share: float | None) -> str:
    assert share is not None
    return f"{100 * share:g}%"
