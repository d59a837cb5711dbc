"""Which arm to use: the cheapest that is shown to lose no more accuracy than a margin, or the one to take meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from tuneoff.analysis import wording
from tuneoff.analysis.choice import choose_now, only_choice
from tuneoff.analysis.comparisons import ComparedArms, in_points
from tuneoff.analysis.costs import NAMES, PREFERENCES, UNMERGED, cost_of, known_cost, not_comparable
from tuneoff.analysis.costs import ranked as ranked_by
from tuneoff.analysis.fitness import Unfit, guess_of, none_is_fit
from tuneoff.analysis.limits import beyond_limits
from tuneoff.analysis.statistics import (
    RISK,
    adjust_pairs,
    most_accurate,
    needed_to_show,
    shown,
)
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.comparison import NeededData
from tuneoff.records.recommendation import Excluded, Limits, Preference, Recommendation

MOST_NAMED = 3
"""Arms that a sentence names one by one."""


def recommend(
    arms: Sequence[ArmSummary],
    compared: ComparedArms | None,
    margin: float,
    preference: Preference,
    limits: Limits,
    unfit: Mapping[str, Unfit],
) -> Recommendation:
    """Chooses an arm that is shown to be good enough, or else the one to take if one must be taken now.

    What is shown: the arm's expected metric (over seeds and test examples) is less than `margin` below that of the
    best arm within the limits, whichever that is. The risk that this is wrong of any arm is 5%, so that the cheapest
    may be picked out of those of which it is shown, and it is harmless to try several preferences. No cost chooses
    between arms of which it was measured under different conditions.

    Args:
        arms: of the summary.
        compared: those that have results, with what their pairs show.
        margin: of the metric, that may be lost.
        preference: a key of `PREFERENCES`.
        limits: what an arm may need, and must reach.
        unfit: arms that are neither named nor compared with; see `unfit_arms`.

    Returns:
        The recommendation, without headlines. No `reason` begins with the name of an arm.
    """
    excluded = [Excluded(arm=name, why=found.why) for name, found in unfit.items()]
    fit = [arm for arm in arms if arm.arm not in unfit]
    excluded += beyond_limits(fit, limits)
    answer = partial(Recommendation, margin=margin, prefer=preference, limits=limits)
    left_out = {entry.arm for entry in excluded}
    within = [arm for arm in fit if isinstance(arm, ScoredArm) and arm.arm not in left_out]
    if not within:
        return answer(reason=_nobody(arms, unfit), excluded=tuple(excluded))
    if len(within) == 1:
        return _alone(within[0], arms, unfit, answer(reason="", excluded=tuple(excluded)))
    ranked = [arm for arm in within if arm.runs > 1]
    candidates = ranked if len(ranked) > 1 else within
    good_enough = [arm for arm in candidates if _reaches(arm, limits)]
    assert compared is not None
    field = compared.among([arm.arm for arm in candidates])
    against = _against(len(field.names), within, arms, unfit)
    excluded += [
        Excluded(arm=arm.arm, why="it has one seed, which never ranks methods")
        for arm in within
        if arm not in candidates
    ]
    excluded += [
        Excluded(arm=arm.arm, why=f"its mean accuracy is below {_percent(limits.min_accuracy)}")
        for arm in candidates
        if arm not in good_enough
    ]
    answer = partial(answer, excluded=tuple(excluded))
    if not good_enough:
        return answer(reason=f"No arm reaches an accuracy of {_percent(limits.min_accuracy)}.")
    meanwhile = partial(answer, choose_now=choose_now(field, good_enough, margin, preference, against))
    if len(ranked) < 2:
        return meanwhile(reason="One seed never ranks methods. At least two seeds an arm are needed to show anything.")
    best, ties = _best(field)
    answer, meanwhile = (partial(form, best=best, ties_with_best=ties) for form in (answer, meanwhile))
    passed = [name for name, good in zip(field.names, shown(field.field, margin), strict=True) if good]
    found = [arm for arm in good_enough if arm.arm in passed]
    if not found:
        needed, what = _needed(field, [arm.arm for arm in good_enough], margin)
        return meanwhile(
            reason=f"No clear winner yet. {what}",
            more_seeds=needed.seeds,
            test_examples=needed.test_examples,
            times=needed.times,
        )
    cost, least = PREFERENCES[preference]
    known = ranked_by(found, cost)
    names = ", ".join(arm.arm for arm in found)
    if not known:
        return meanwhile(reason=f"No arm that is {wording.good_enough(compared.metric)} ({names}) has a known {cost}.")
    excluded += [
        Excluded(arm=arm.arm, why=f"its {cost} is {'not known' if cost_of(arm, cost) is None else UNMERGED}")
        for arm in found
        if arm not in known
    ]
    why_not = not_comparable(known, cost)
    if why_not is not None:
        called = names if len(found) <= MOST_NAMED else f"{len(found)} arms"
        return meanwhile(
            reason=f"The {NAMES[cost]} of {called} cannot be compared: {why_not}.", excluded=tuple(excluded)
        )
    known.sort(key=lambda arm: (known_cost(arm, cost), -arm.test_score.mean))
    chosen = known[0]
    name = chosen.arm
    claim = f"shown to lose less than {in_points(margin)} of {compared.metric} against {against}"
    if name == best and not ties:
        reason = (
            f"{against[0].upper()}{against[1:]} is {wording.worse(compared.metric)}{_and_least(known, name, least)}."
        )
    elif len(known) > 1:
        reason = f"Of the {len(known)} arms {claim}, {name} {least}."
    else:
        reason = f"Only {name} is {claim}."
    return answer(
        arm=name,
        shown=tuple(arm.arm for arm in known),
        reason=reason + _reaches_below(chosen, limits),
        excluded=tuple(excluded),
    )


def _nobody(arms: Sequence[ArmSummary], unfit: Mapping[str, Unfit]) -> str:
    """Why no arm is left."""
    scored = [arm.arm for arm in arms if isinstance(arm, ScoredArm)]
    if not scored:
        return "No run succeeded." if any(arm.failed for arm in arms) else "No run has ended yet."
    if any(name not in unfit for name in scored):
        return "No arm is within the limits."
    return none_is_fit(unfit) if len(scored) > 1 else f"Only {scored[0]} has results: {unfit[scored[0]].why}."


def _against(compared: int, within: Sequence[ScoredArm], arms: Sequence[ArmSummary], unfit: Mapping[str, Unfit]) -> str:
    """The other arms that a claim is about."""
    which = []
    if unfit:
        beaten = any(found.learned for found in unfit.values())
        which.append(f"that beats {guess_of(unfit)}" if beaten else "that learned")
    if len(within) < sum(isinstance(arm, ScoredArm) for arm in arms) - len(unfit):
        which.append("within the limits")
    if compared < len(within):
        which.append("with several seeds")
    if len(which) > 1:  # what keeps the others from it is said of each
        which = ["that can be compared"]
    return " ".join(["every other arm" if compared > 2 else "the other arm", *which])


def _best(compared: ComparedArms) -> tuple[str, tuple[str, ...]]:
    """The arm of highest mean, and the arms that it is not shown to be better than."""
    field = compared.field
    best = int(field.means.argmax())
    if most_accurate(field) == best:
        return compared.names[best], ()
    better = (adjust_pairs(field.p_values, field.arms) < RISK) & (field.seeds > 1)
    behind = field.matrix(better & (field.centre > 0), better & (field.centre < 0), absent=0.0)[best]
    ties = [name for arm, name in enumerate(compared.names) if arm != best and not behind[arm]]
    return compared.names[best], tuple(ties)


def _needed(compared: ComparedArms, candidates: Sequence[str], margin: float) -> tuple[NeededData, str]:
    """What it would take to show one of the candidates to be close enough: the least change alone, and in words.

    `seeds` are more seeds, beside those that there are.
    """
    field = compared.field
    nothing = NeededData(seeds=None, test_examples=None, times=None)
    if len(field.first) < field.arms * (field.arms - 1) // 2 or (field.seeds < 2).any():
        return nothing, "Every two arms must have two seeds in common to show anything."
    needed = needed_to_show(field, margin, [compared.names.index(name) for name in candidates])
    to_show = f"To show that an arm loses less than {in_points(margin)}"
    if needed.seeds is not None:
        more = max(1, needed.seeds - int(field.seeds.min()))
        what = f"about {more} more {'seed' if more == 1 else 'seeds'} an arm"
        return nothing.model_copy(update={"seeds": more}), f"{to_show} would take {what}."
    if needed.test_examples is not None:
        what = f"about {needed.test_examples:,} test examples ({field.examples:,} now)"
        return (
            nothing.model_copy(update={"test_examples": needed.test_examples}),
            f"{to_show} would take {what}.",
        )
    if needed.times is not None:
        what = f"about {needed.times} times as many seeds, and as many times the test examples"
        return nothing.model_copy(update={"times": needed.times}), f"{to_show} would take {what}."
    return nothing, "By the differences seen, no amount of seeds and test examples is likely to show so small a loss."


def _alone(
    arm: ScoredArm, arms: Sequence[ArmSummary], unfit: Mapping[str, Unfit], answer: Recommendation
) -> Recommendation:
    """What is said of an arm that no other is left to be compared with; `answer` is what is said without it."""
    limits = answer.limits
    scored = sum(isinstance(other, ScoredArm) for other in arms)
    if scored == 1:
        reason = f"Only {arm.arm} has results, so there is nothing to compare with."
        return answer.model_copy(update={"reason": reason})
    if not _reaches(arm, limits):
        reason = f"The only arm within the other limits is less accurate than {_percent(limits.min_accuracy)}."
        return answer.model_copy(update={"reason": reason})
    if scored - 1 > len(unfit):
        reason = "No other arm is within the limits; nothing is claimed of the accuracy of those beyond them."
    elif any(found.learned for found in unfit.values()):
        reason = f"No other arm is shown to beat {guess_of(unfit)}."
    else:
        reason = "No other arm learned this task."
    if arm.runs == 1 and unfit:
        now = only_choice(arm.arm, reason)
        return answer.model_copy(update={"reason": "One seed never ranks methods.", "choose_now": now})
    reason += _reaches_below(arm, limits)
    return answer.model_copy(update={"arm": arm.arm, "best": arm.arm, "reason": reason})


def _reaches(arm: ScoredArm, limits: Limits) -> bool:
    if limits.min_accuracy is None:
        return True
    return arm.test_accuracy is not None and arm.test_accuracy.mean >= limits.min_accuracy


def _reaches_below(arm: ScoredArm, limits: Limits) -> str:
    lowest = limits.min_accuracy
    if lowest is None or arm.test_accuracy is None or arm.test_accuracy.ci_low >= lowest:
        return ""
    return f" The mean accuracy of {arm.arm} reaches {_percent(lowest)}, but its interval begins below."


def _and_least(known: Sequence[ScoredArm], name: str, least: str) -> str:
    return f"; of the {len(known)} that come close, {name} {least}" if len(known) > 1 else ""


def _percent(accuracy: float | None) -> str:
    assert accuracy is not None
    return f"{100 * accuracy:g}%"
