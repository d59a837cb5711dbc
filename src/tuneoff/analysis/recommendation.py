"""Which arm to use: the cheapest that is shown to lose no more accuracy than a margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.analysis.comparisons import RISK, Pair, in_points, pair_arms
from tuneoff.analysis.costs import PREFERENCES, UNMERGED, comparable
from tuneoff.analysis.costs import ranked as ranked_by
from tuneoff.analysis.limits import beyond_limits
from tuneoff.analysis.statistics import Needed, close_to_best, holm

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Arms = Sequence[Mapping[str, Any]]


def recommend(
    arms: Arms,
    correct: Mapping[str, NDArray[np.float64]],
    margin: float,
    preference: str,
    limits: Mapping[str, float | None],
) -> dict[str, Any]:
    """Chooses an arm, or says why none can be chosen.

    The claim is that the arm's expected accuracy (over seeds and test examples) is less than `margin` below that of the
    best arm within the limits, whichever that is. So an arm must be non-inferior to every other one (an
    intersection-union test), and since the cheapest is picked out of those that pass, the arms' p-values are corrected
    so that the risk of passing any arm that should not is 5% (`close_to_best`). The same correction makes it harmless
    to try several preferences.

    Args:
        arms: of the summary.
        correct: by arm, shape (seeds, examples); rows in the order of the arm's `seeds`.
        margin: accuracy that may be lost.
        preference: a key of `PREFERENCES`.
        limits: `max_memory` in bytes, `max_train_time` in seconds, `min_accuracy` from 0 to 1; None for no limit.

    Returns:
        `arm` (None where there is no recommendation), `best` (the highest mean), `ties_with_best`, `margin`, `prefer`,
        `limits`, `reason`, `more_seeds`, `test_examples`, `times` (what would be needed; None where it would not help
        or nothing is needed), `shown` (arms that pass, cheapest first), `excluded` (`arm` and `why`).

    Sources: Berger 1982, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24
    (intersection-union tests); Hsu 1981 (comparisons with the best).
    """
    excluded = beyond_limits(arms, limits)
    answer: dict[str, Any] = {
        "arm": None,
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
    within = [arm for arm in arms if arm["runs"] and arm["arm"] not in left_out]
    scored = sum(bool(arm["runs"]) for arm in arms)
    if not within:
        return answer | {"reason": "No arm is within the limits." if scored else "No run succeeded."}
    if len(within) == 1:
        return answer | _alone(within[0], limits, scored == 1)
    ranked = [arm for arm in within if arm["runs"] > 1]
    if len(ranked) < 2:
        return answer | {"reason": "One seed never ranks methods; run at least two seeds an arm."}
    excluded += [
        {"arm": arm["arm"], "why": "it has one seed, which never ranks methods"} for arm in within if arm["runs"] == 1
    ]
    field = _Field(ranked, pair_arms(ranked, correct), margin)
    answer |= {"best": field.best, "ties_with_best": field.ties_with_best()}
    good_enough = [arm for arm in ranked if _reaches(arm, limits)]
    excluded += [
        {"arm": arm["arm"], "why": f"its mean accuracy is below {_percent(limits['min_accuracy'])}"}
        for arm in ranked
        if arm not in good_enough
    ]
    if not good_enough:
        return answer | {"reason": f"No arm reaches an accuracy of {_percent(limits['min_accuracy'])}."}
    # which other arms the claim is about, where it is not all of them
    against = (
        " within the limits" if len(within) < scored else " with several seeds" if len(ranked) < len(within) else ""
    )
    p_values = field.p_values()
    shown = [arm for arm in good_enough if p_values[arm["arm"]] < RISK]
    if not shown:
        return answer | field.no_winner([arm["arm"] for arm in good_enough], against)
    cost, least = PREFERENCES[preference]
    known = ranked_by(shown, cost)
    excluded += [
        {"arm": arm["arm"], "why": f"its {cost} is {'not known' if arm[cost] is None else UNMERGED}"}
        for arm in shown
        if arm not in known
    ]
    names = ", ".join(arm["arm"] for arm in shown)
    if not known:
        return answer | {"reason": f"No arm that is accurate enough ({names}) has a known {cost}."}
    if not comparable(known, cost):
        reason = f"The times of {names} cannot be compared: only some of them ran alone on their device."
        return answer | {"reason": reason}
    known.sort(key=lambda arm: (arm[cost], -arm["test_accuracy"]["mean"]))
    chosen = known[0]
    claim = f"lose less than {in_points(margin)} of accuracy against every other arm{against}"
    if chosen["arm"] == field.best and not answer["ties_with_best"]:
        reason = f"It is more accurate than every other arm{against}, beyond the noise{_and_least(known, least)}."
    elif len(known) > 1:
        reason = f"It is shown to {claim}, and has {least} of the {len(known)} arms for which this is shown."
    else:
        reason = f"It is the only arm that is shown to {claim}."
    return answer | {
        "arm": chosen["arm"],
        "shown": [arm["arm"] for arm in known],
        "reason": reason + _reaches_below(chosen, limits),
    }


@dataclass(frozen=True)
class _Field:
    """The arms that are ranked against each other, at least two, each with several seeds."""

    arms: Arms
    pairs: Sequence[Pair]
    margin: float

    @property
    def best(self) -> str:
        return str(max(self.arms, key=lambda arm: arm["test_accuracy"]["mean"])["arm"])

    def ties_with_best(self) -> list[str]:
        adjusted = holm([pair.difference.p_value for pair in self.pairs])
        return [
            pair.other(self.best)
            for pair, p_value in zip(self.pairs, adjusted, strict=True)
            if self.best in (pair.first, pair.second) and (p_value >= RISK or pair.difference.seeds < 2)
        ]

    def p_values(self) -> dict[str, float]:
        """By arm, corrected for all arms, against the hypothesis that it is worse than the best by the margin."""
        names = [arm["arm"] for arm in self.arms]
        return dict(zip(names, close_to_best([self._worst(name) for name in names]), strict=True))

    def _worst(self, arm: str) -> float:
        against = [pair.of(arm) for pair in self.pairs if arm in (pair.first, pair.second)]
        compared = [difference for difference in against if difference.seeds > 1]
        if len(compared) < len(self.arms) - 1:  # not every other arm shares two seeds with this one
            return 1.0
        return max(difference.non_inferiority_p_value(self.margin) for difference in compared)

    def no_winner(self, candidates: Sequence[str], against: str) -> dict[str, Any]:
        """No arm is shown to be close enough; what it would take for one of the candidates."""
        wanted = [self._needed(arm) for arm in candidates]
        seeds = min((found.seeds for found in wanted if found.seeds is not None), default=None)
        examples = min((found.test_examples for found in wanted if found.test_examples is not None), default=None)
        times = min((found.times for found in wanted if found.times is not None), default=None)
        now = min(pair.difference.seeds for pair in self.pairs)
        more = None if seeds is None else max(1, seeds - now)
        if more is not None:
            what = f"about {more} more {'seed' if more == 1 else 'seeds'} an arm would be needed"
        elif examples is not None:
            what = f"more seeds alone would not show it; about {examples:,} test examples would be needed"
        elif times is not None:
            what = f"about {times} times as many seeds and as many test examples would be needed"
        else:
            what = "by the differences seen, no amount of seeds and test examples is likely to show it"
        reason = (
            f"No clear winner. No arm is shown to lose less than {in_points(self.margin)} of accuracy against every "
            f"other arm{against}; {what}."
        )
        alone = more is not None or examples is not None
        return {
            "reason": reason,
            "more_seeds": more,
            "test_examples": examples if more is None else None,
            "times": None if alone else times,
        }

    def _needed(self, arm: str) -> Needed:
        tail = RISK / (len(self.arms) - 1)
        of_pairs = [
            pair.of(arm).needed_for_non_inferiority(self.margin, tail)
            for pair in self.pairs
            if arm in (pair.first, pair.second)
        ]
        if len(of_pairs) < len(self.arms) - 1:
            return Needed(None, None, None)
        return Needed(
            _all_of([one.seeds for one in of_pairs]),
            _all_of([one.test_examples for one in of_pairs]),
            _all_of([one.times for one in of_pairs]),
        )


def _alone(arm: Mapping[str, Any], limits: Mapping[str, float | None], only_results: bool) -> dict[str, Any]:
    if only_results:
        return {"reason": f"Only {arm['arm']} has results, so there is nothing to compare it with."}
    if not _reaches(arm, limits):
        return {
            "reason": f"The only arm within the other limits is less accurate than {_percent(limits['min_accuracy'])}."
        }
    reason = "It is the only arm within the limits; nothing is claimed of its accuracy against the others."
    return {"arm": arm["arm"], "best": arm["arm"], "reason": reason + _reaches_below(arm, limits)}


def _reaches(arm: Mapping[str, Any], limits: Mapping[str, float | None]) -> bool:
    lowest = limits["min_accuracy"]
    return lowest is None or bool(arm["test_accuracy"]["mean"] >= lowest)


def _reaches_below(arm: Mapping[str, Any], limits: Mapping[str, float | None]) -> str:
    lowest = limits["min_accuracy"]
    if lowest is None or arm["test_accuracy"]["ci_low"] >= lowest:
        return ""
    return f" Its mean accuracy reaches {_percent(lowest)}, but its interval begins below."


def _and_least(known: Arms, least: str) -> str:
    return f", and has {least} of the {len(known)} arms that come close" if len(known) > 1 else ""


def _all_of(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else max(count for count in counts if count is not None)


def _percent(share: float | None) -> str:
    assert share is not None
    return f"{100 * share:g}%"
