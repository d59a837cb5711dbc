"""Studies side by side: what may be compared, and what is found where it may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.analysis.comparable import (
    check_same_data,
    differing,
    differing_conditions,
    model_differences,
    settings,
)
from tuneoff.analysis.comparisons import pair_verdict
from tuneoff.analysis.costs import LATENCY
from tuneoff.analysis.fitness import has_learned
from tuneoff.analysis.statistics import Interval, holm, paired_difference
from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults

TIMES = ("train_seconds", "inference_latency_seconds")
MEMORY = ("peak_train_memory_bytes",)
SIZES = ("trainable_parameters", "checkpoint_bytes")
"""Costs that are the same on every machine."""


def study_name(place: int) -> str:
    """What the study at a place is called: A to Z, then A1, B1 and so on."""
    letter = chr(ord("A") + place % 26)
    return letter if place < 26 else f"{letter}{place // 26}"


def compare_studies(*studies: StudyResults) -> dict[str, Any]:
    """Compares studies on the same data, each with the first one, arm by arm; every value is plain JSON.

    Differences of accuracy are the other's less the first's, paired by seed and test example, over the seeds that both
    have; they stand whatever else differs. Times and memory are compared only where they were taken alike.

    Args:
        studies: at least two; they are called A, B, C and so on.

    Returns:
        `studies` (`name`, `folder`, `study`, `model`), and `comparisons`, one for each study but the first: `a` and `b`
        (their names); `margin` of accuracy, the first study's; `differences` of model, settings and conditions
        (`setting`, `a`, `b`); `pairs` of arms; `only_in_a` and `only_in_b`, arms without a partner; `overall`, all
        pairs of arms that learned together, and `left_out`, arms of A of other pairs; `best`, each study's most
        accurate arm of those that learned, without a verdict, since they were picked by their accuracies; `notes`. Of
        a pair: `arm_a`, `arm_b`, `differences` of their options, `seeds`, `not_learned` (names of the studies in which
        the arm did not learn), `test_accuracy` (`a`, `b`, `difference`, `p_value`, `p_value_holm` over the pairs of all
        comparisons that learned, and the `verdict`: a, b, not shown, tie, not told apart, unranked, or not learned),
        `costs` (`a`, `b`, `ratio`) and `left_out`, why a cost is not among them. None stands where nothing can be
        compared.

    Raises:
        UserError: where classes, splits or examples differ, or a study has no results.
    """
    sides = [_Side(study_name(place), results) for place, results in enumerate(studies)]
    for other in sides[1:]:
        check_same_data(sides[0].results, other.results, other.name)
    for side in sides:
        if not any(arm["runs"] for arm in side.results.summary["arms"]):
            raise UserError(f"{side.results.folder} has no results to compare")
    comparisons = [_compare(sides[0], other) for other in sides[1:]]
    pairs = [pair for comparison in comparisons for pair in comparison["pairs"]]
    margin = sides[0].results.spec.analysis.margin
    _judge([pair["test_accuracy"] for pair in pairs if pair["seeds"] and not pair["not_learned"]], margin)
    _judge([comparison["overall"] for comparison in comparisons if comparison["overall"] is not None], margin)
    return {"studies": [side.describe() for side in sides], "comparisons": comparisons}


@dataclass(frozen=True)
class _Side:
    """A study that is compared, under the name that it has there."""

    name: str
    results: StudyResults

    def describe(self) -> dict[str, str]:
        spec = self.results.spec
        return {"name": self.name, "folder": str(self.results.folder), "study": spec.name, "model": spec.model.id}


def _compare(first: _Side, other: _Side) -> dict[str, Any]:
    a, b = first.results, other.results
    names, only_in_a, only_in_b = _paired_arms(a, b)
    pairs = [_pair(first, other, *pair) for pair in names]
    best_a, best_b = _best(a), _best(b)
    best = None if best_a is None or best_b is None else _pair(first, other, best_a, best_b)
    return {
        "a": first.name,
        "b": other.name,
        "margin": a.spec.analysis.margin,
        "differences": [
            *model_differences(a, b),
            *differing(settings(a), settings(b)),
            *differing_conditions(a.runs, b.runs),
        ],
        "pairs": pairs,
        "only_in_a": only_in_a,
        "only_in_b": only_in_b,
        "overall": _overall(a, b, pairs),
        "best": best if best and best["seeds"] else None,
        "notes": _notes(first, other, pairs, best),
    }


def _paired_arms(a: StudyResults, b: StudyResults) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Arms of one name, then arms that are configured alike; and those that are left on either side."""
    left = {arm.name: arm for arm in b.spec.arms}
    pairs = {arm.name: arm.name for arm in a.spec.arms if left.pop(arm.name, None) is not None}
    for arm in a.spec.arms:
        alike = [name for name, other in left.items() if other.model_copy(update={"name": arm.name}) == arm]
        if arm.name not in pairs and alike:
            pairs[arm.name] = alike[0]
            del left[alike[0]]
    in_order = [(arm.name, pairs[arm.name]) for arm in a.spec.arms if arm.name in pairs]
    return in_order, [arm.name for arm in a.spec.arms if arm.name not in pairs], list(left)


def _best(results: StudyResults) -> str | None:
    """The most accurate arm that learned; None where none did."""
    scored = [arm for arm in results.summary["arms"] if arm["runs"] and has_learned(arm)]
    return max(scored, key=lambda arm: arm["test_accuracy"]["mean"])["arm"] if scored else None


def _pair(first: _Side, other: _Side, arm_a: str, arm_b: str) -> dict[str, Any]:
    a, b = first.results, other.results
    seeds = _shared_seeds(a, b, arm_a, arm_b)
    pair: dict[str, Any] = {
        "arm_a": arm_a,
        "arm_b": arm_b,
        "differences": differing(*(_options(study, arm) for study, arm in ((a, arm_a), (b, arm_b)))),
        "seeds": seeds,
        "not_learned": [
            side.name for side, arm in ((first, arm_a), (other, arm_b)) if not has_learned(_summary(side.results, arm))
        ],
        "test_accuracy": None,
        **_costs(first, other, arm_a, arm_b),
    }
    if seeds:
        correct = [_correct(study, arm, seeds) for study, arm in ((a, arm_a), (b, arm_b))]
        means = [float(rows.mean()) for rows in correct]
        pair["test_accuracy"] = {"a": means[0], "b": means[1], **_difference(*correct)}
        if pair["not_learned"]:
            pair["test_accuracy"] |= {"p_value_holm": None, "verdict": "not learned"}
    return pair


def _options(results: StudyResults, name: str) -> dict[str, Any]:
    """An arm's options, with the learning rate that its runs had."""
    arm = next(arm for arm in results.spec.arms if arm.name == name)
    rates = sorted({run["learning_rate"] for run in results.of_arm(name)})
    trained = {"learning_rate": ", ".join(f"{rate:g}" for rate in rates)} if rates else {}
    return {key: value for key, value in (arm.model_dump(mode="json") | trained).items() if key != "name"}


def _shared_seeds(a: StudyResults, b: StudyResults, arm_a: str, arm_b: str) -> list[int]:
    others = {run["seed"] for run in b.of_arm(arm_b)}
    return [run["seed"] for run in a.of_arm(arm_a) if run["seed"] in others]


def _correct(results: StudyResults, arm: str, seeds: list[int]) -> NDArray[np.float64]:
    """Which test examples an arm got right with these seeds, shape (seeds, examples)."""
    all_seeds = [run["seed"] for run in results.of_arm(arm)]
    return results.correct(arm)[[all_seeds.index(seed) for seed in seeds]]


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> dict[str, Any]:
    """What paired outcomes, both of shape (seeds, examples), show of b less a."""
    paired = paired_difference(b, a)
    return {"difference": asdict(paired.difference), "p_value": paired.p_value}


def _judge(found: list[dict[str, Any]], margin: float) -> None:
    """Adds verdicts, with one risk of error for all together; one seed never ranks."""
    for entry, p_value in zip(found, holm([entry["p_value"] for entry in found]), strict=True):
        entry["p_value_holm"] = p_value
        seen = Interval(**entry["difference"])
        verdict = pair_verdict(entry["p_value"], p_value, seen, margin)
        entry["verdict"] = verdict if verdict != "better" else "b" if seen.mean > 0 else "a"


def _costs(first: _Side, other: _Side, arm_a: str, arm_b: str) -> dict[str, Any]:
    """The costs of two arms, and for those that cannot be compared the reason."""
    arms = [_summary(side.results, arm) for side, arm in ((first, arm_a), (other, arm_b))]
    costs: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    if all(arm["runs"] for arm in arms):
        reasons = _reasons(first, other, arm_a, arm_b)
        for cost in (*TIMES, *MEMORY, *SIZES):
            values = [arm.get(cost) for arm in arms]
            if cost in reasons:
                left_out[cost] = reasons[cost]
            elif None in values:
                left_out[cost] = "it was not measured in both studies"
            else:
                ratio = values[1] / values[0] if values[0] else None
                costs[cost] = {"a": values[0], "b": values[1], "ratio": ratio}
    return {"costs": costs, "left_out": left_out}


def _reasons(first: _Side, other: _Side, arm_a: str, arm_b: str) -> dict[str, str]:
    """Why costs of two arms cannot be compared, by cost."""
    sides = ((first, arm_a), (other, arm_b))
    others = differing_conditions(*(side.results.of_arm(arm) for side, arm in sides))
    on_cores = [entry for entry in others if entry["setting"] == "cores"]
    elsewhere = [entry for entry in others if entry["setting"] != "cores"]
    if elsewhere:
        return dict.fromkeys((*TIMES, *MEMORY), f"measured differently ({_listed(elsewhere)})")
    if on_cores:
        return dict.fromkeys(TIMES, f"measured differently ({_listed(on_cores)})")
    arms = [(side.name, _summary(side.results, arm)) for side, arm in sides]
    shared = [name for name, arm in arms if arm["times_shared"]]
    if len(shared) == 1:
        return dict.fromkeys(TIMES, f"in {shared[0]} other runs computed on the same device at the same time")
    unmerged = [name for name, arm in arms if arm["adapter_unmerged"]]
    if len(unmerged) == 1:
        return {LATENCY: f"in {unmerged[0]} an adapter is beside the weights, unmerged"}
    return {}


def _listed(differences: Iterable[dict[str, Any]]) -> str:
    return "; ".join(f"{entry['setting']}: {entry['a']} and {entry['b']}" for entry in differences)


def _summary(results: StudyResults, name: str) -> dict[str, Any]:
    return next(arm for arm in results.summary["arms"] if arm["arm"] == name)


def _overall(a: StudyResults, b: StudyResults, pairs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The mean difference over all pairs with the same seeds, and the geometric mean of each cost's ratios.

    A pair of which an arm did not learn has no part in it.
    """
    left_out = [pair["arm_a"] for pair in pairs if pair["seeds"] and pair["not_learned"]]
    pairs = [pair for pair in pairs if pair["seeds"] and not pair["not_learned"]]
    seeds = [seed for seed in a.spec.seeds if all(seed in pair["seeds"] for pair in pairs)]
    if not pairs or not seeds:
        return None
    means = [
        np.mean([_correct(study, pair[arm], seeds) for pair in pairs], axis=0)
        for study, arm in ((a, "arm_a"), (b, "arm_b"))
    ]
    difference = _difference(*means)
    ratios = {
        cost: [pair["costs"][cost]["ratio"] for pair in pairs if pair["costs"].get(cost, {}).get("ratio")]
        for cost in (*TIMES, *MEMORY, *SIZES)
    }
    return {
        "arms": len(pairs),
        "left_out": left_out,
        "seeds": seeds,
        **difference,
        "cost_ratios": {
            cost: float(np.exp(np.mean(np.log(values)))) for cost, values in ratios.items() if len(values) == len(pairs)
        },
    }


def _notes(first: _Side, other: _Side, pairs: list[dict[str, Any]], best: dict[str, Any] | None) -> list[str]:
    """What a reader must know, in sentences."""
    notes = []
    for side in (first, other):
        accepted = sorted({finding["name"] for finding in side.results.summary["audit"] if _ignored(finding)})
        if accepted:
            notes.append(f"{side.name}'s accuracies mean nothing: it went on in spite of {', '.join(accepted)}.")
        idle = [arm["arm"] for arm in side.results.summary["arms"] if arm["runs"] and not has_learned(arm)]
        if idle:
            they = "it" if len(idle) == 1 else "them"
            notes.append(f"Of {side.name}, {', '.join(idle)} did not learn this task: no verdict is about {they}.")
    apart = [pair["arm_a"] for pair in pairs if not pair["seeds"]]
    if apart:
        notes.append(f"No seed has results in both {first.name} and {other.name} for {', '.join(apart)}.")
    if not pairs:
        notes.append(f"No arm of {first.name} has the name or the options of one in {other.name}.")
    if best and best["seeds"]:
        notes.append(
            "Each study's most accurate arm was picked by the test examples on which it is compared, "
            "which flatters the study with more arms or a closer race."
        )
    return notes


def _ignored(finding: dict[str, Any]) -> bool:
    return bool(finding["accepted"] and finding["severity"] == "error")
