"""Studies side by side: what may be compared, and what is found where it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from pydantic import JsonValue

from tuneoff.analysis.comparable import (
    check_same_data,
    conditions,
    differing,
    model_differences,
    settings,
)
from tuneoff.analysis.comparisons import pair_verdict
from tuneoff.analysis.conditions import ALONE
from tuneoff.analysis.costs import LATENCY, MEMORY, SIZES, TIMES, WHOLE, cost_of, measured_differently
from tuneoff.analysis.statistics import holm, paired_difference
from tuneoff.core.errors import UserError
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.compared import (
    ArmDifference,
    ArmPair,
    ComparedStudies,
    ComparedStudy,
    CostsOfBoth,
    OverallDifference,
    StudiesDifference,
    StudiesVerdict,
    StudyComparison,
)
from tuneoff.records.finding import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults

COMPARED = tuple(cost for cost in (*TIMES, *MEMORY, *SIZES) if cost != WHOLE)
"""Costs that are put side by side; the time of a whole run is mostly that of training."""
Judged = TypeVar("Judged", bound=StudiesDifference)


def study_name(index: int) -> str:
    """What a study is called by its index: A to Z, then A1, B1 and so on."""
    letter = chr(ord("A") + index % 26)
    return letter if index < 26 else f"{letter}{index // 26}"


def compare_studies(*studies: StudyResults) -> ComparedStudies:
    """Compares studies on the same data, each with the first one, arm by arm.

    Differences of accuracy are the other's less the first's, paired by seed and test example, over the seeds that both
    have; they stand whatever else differs. Times and memory are compared only where they were taken alike.

    Args:
        studies: at least two; they are called A, B, C and so on.

    Raises:
        UserError: where classes, splits or examples differ, or a study has no results.
    """
    sides = [_Side(study_name(index), results) for index, results in enumerate(studies)]
    for other in sides[1:]:
        check_same_data(sides[0].results, other.results, other.name)
    for side in sides:
        if side.results.task.kind == "number":
            raise UserError(
                f"{side.results.folder} predicts numbers, and studies are compared by accuracy, of which there is none"
            )
        if not side.results.summary.scored_arms:
            raise UserError(f"{side.results.folder} has no results to compare")
    comparisons = [_compare(sides[0], other) for other in sides[1:]]
    return ComparedStudies(
        studies=tuple(side.describe() for side in sides),
        comparisons=_judged(comparisons, sides[0].results.spec.analysis.margin),
    )


@dataclass(frozen=True)
class _Side:
    """A study that is compared, under the name that it has there."""

    name: str
    results: StudyResults

    def describe(self) -> ComparedStudy:
        spec = self.results.spec
        return ComparedStudy(name=self.name, folder=str(self.results.folder), study=spec.name, model=spec.model.id)

    def arm(self, name: str) -> ArmSummary:
        """An arm of its summary."""
        return next(arm for arm in self.results.summary.arms if arm.arm == name)


def _compare(first: _Side, other: _Side) -> StudyComparison:
    a, b = first.results, other.results
    names, only_in_a, only_in_b = _paired_arms(a, b)
    pairs = [_pair(first, other, *pair) for pair in names]
    best_a, best_b = _best(a), _best(b)
    best = None if best_a is None or best_b is None else _pair(first, other, best_a, best_b)
    return StudyComparison(
        a=first.name,
        b=other.name,
        margin=a.spec.analysis.margin,
        differences=(
            *model_differences(a, b),
            *differing(settings(a), settings(b)),
            *(
                difference
                for difference in differing(conditions(a.runs), conditions(b.runs))
                # A package that only one study has is one that only its methods need.
                if None not in (difference.a, difference.b) or not difference.setting.startswith("versions.")
            ),
        ),
        pairs=tuple(pairs),
        only_in_a=tuple(only_in_a),
        only_in_b=tuple(only_in_b),
        overall=_overall(a, b, pairs),
        best=best if best and best.seeds else None,
        notes=tuple(_notes(first, other, pairs, best)),
    )


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
    learned = [arm for arm in results.summary.scored_arms if arm.learned]
    return max(learned, key=lambda arm: arm.test_score.mean).arm if learned else None


def _pair(first: _Side, other: _Side, arm_a: str, arm_b: str) -> ArmPair:
    a, b = first.results, other.results
    seeds = _shared_seeds(a, b, arm_a, arm_b)
    not_learned = tuple(side.name for side, arm in ((first, arm_a), (other, arm_b)) if not side.arm(arm).learned)
    test_accuracy = None
    if seeds:
        right_a, right_b = _correct(a, arm_a, seeds), _correct(b, arm_b, seeds)
        verdict: StudiesVerdict | None = "not learned" if not_learned else None
        test_accuracy = ArmDifference(
            **dict(_difference(right_a, right_b, verdict)), a=float(right_a.mean()), b=float(right_b.mean())
        )
    costs, left_out = _costs(first, other, arm_a, arm_b)
    return ArmPair(
        arm_a=arm_a,
        arm_b=arm_b,
        differences=tuple(differing(_options(a, arm_a), _options(b, arm_b))),
        seeds=tuple(seeds),
        not_learned=not_learned,
        test_accuracy=test_accuracy,
        costs=costs,
        left_out=left_out,
    )


def _options(results: StudyResults, name: str) -> dict[str, JsonValue]:
    """An arm's options, with the learning rates that its runs had."""
    arm = next(arm for arm in results.spec.arms if arm.name == name)
    rates = sorted({run.learning_rate for runs in results.runs_by_seed(name) for run in runs})
    trained = {"learning_rate": ", ".join(f"{rate:g}" for rate in rates)} if rates else {}
    return {key: value for key, value in (arm.model_dump(mode="json") | trained).items() if key != "name"}


def _shared_seeds(a: StudyResults, b: StudyResults, arm_a: str, arm_b: str) -> list[int]:
    others = {run.seed for run in b.of_arm(arm_b)}
    return [run.seed for run in a.of_arm(arm_a) if run.seed in others]


def _correct(results: StudyResults, arm: str, seeds: Sequence[int]) -> NDArray[np.float64]:
    """Which test examples an arm got right with these seeds, shape (seeds, examples)."""
    all_seeds = [run.seed for run in results.of_arm(arm)]
    return results.correct(arm)[[all_seeds.index(seed) for seed in seeds]]


def _difference(
    a: NDArray[np.float64], b: NDArray[np.float64], verdict: StudiesVerdict | None = None
) -> StudiesDifference:
    """What paired outcomes, both of shape (seeds, examples), show of b less a."""
    paired = paired_difference(b, a)
    return StudiesDifference(difference=paired.difference, p_value=paired.p_value, verdict=verdict)


def _judged(comparisons: Sequence[StudyComparison], margin: float) -> tuple[StudyComparison, ...]:
    """With verdicts on pairs that learned and share a seed, and on studies as wholes; each with one risk for all."""
    found = [
        pair.test_accuracy
        for comparison in comparisons
        for pair in comparison.pairs
        if pair.test_accuracy is not None and not pair.not_learned
    ]
    pairs = iter(_judge(found, margin))
    wholes = iter(_judge([one.overall for one in comparisons if one.overall is not None], margin))

    def judged(pair: ArmPair) -> ArmPair:
        if pair.test_accuracy is None or pair.not_learned:
            return pair
        return pair.model_copy(update={"test_accuracy": next(pairs)})

    return tuple(
        comparison.model_copy(
            update={
                "pairs": tuple(judged(pair) for pair in comparison.pairs),
                "overall": None if comparison.overall is None else next(wholes),
            }
        )
        for comparison in comparisons
    )


def _judge(found: Sequence[Judged], margin: float) -> list[Judged]:
    """With verdicts, and one risk of error for all together; one seed never ranks."""
    judged = []
    for entry, p_value in zip(found, holm([entry.p_value for entry in found]), strict=True):
        verdict = pair_verdict(entry.p_value, p_value, entry.difference, margin)
        said = verdict if verdict != "better" else "b" if entry.difference.mean > 0 else "a"
        judged.append(entry.model_copy(update={"p_value_holm": float(p_value), "verdict": said}))
    return judged


def _costs(first: _Side, other: _Side, arm_a: str, arm_b: str) -> tuple[dict[str, CostsOfBoth], dict[str, str]]:
    """The costs of two arms, and for those that cannot be compared the reason."""
    costs: dict[str, CostsOfBoth] = {}
    left_out: dict[str, str] = {}
    a, b = first.arm(arm_a), other.arm(arm_b)
    if isinstance(a, ScoredArm) and isinstance(b, ScoredArm):
        for cost in COMPARED:
            values = (cost_of(a, cost), cost_of(b, cost))
            reason = _why_not(cost, (first, a), (other, b))
            if reason is not None:
                left_out[cost] = reason
            elif values[0] is None or values[1] is None:
                left_out[cost] = "it was not measured in both studies"
            else:
                ratio = values[1] / values[0] if values[0] else None
                costs[cost] = CostsOfBoth(a=values[0], b=values[1], ratio=ratio)
    return costs, left_out


def _why_not(cost: str, *sides: tuple[_Side, ScoredArm]) -> str | None:
    """Why a cost of two arms cannot be compared; None where it can."""
    arms = [arm for _, arm in sides]
    found = measured_differently(arms, cost)
    shared = [side.name for side, arm in sides if arm.conditions[ALONE] == "yes"]
    if found and len(shared) == 1 and len(found) == 1:
        return f"in {shared[0]} other runs computed on the same device at the same time"
    if found:
        return f"measured differently ({'; '.join(found)})"
    unmerged = [side.name for side, arm in sides if arm.adapter_unmerged]
    if cost == LATENCY and len(unmerged) == 1:
        return f"in {unmerged[0]} an adapter is beside the weights, unmerged"
    return None


def _overall(a: StudyResults, b: StudyResults, pairs: Sequence[ArmPair]) -> OverallDifference | None:
    """The mean difference over all pairs with the same seeds, and the geometric mean of each cost's ratios.

    A pair of which an arm did not learn has no part in it.
    """
    left_out = tuple(pair.arm_a for pair in pairs if pair.seeds and pair.not_learned)
    pairs = [pair for pair in pairs if pair.seeds and not pair.not_learned]
    seeds = [seed for seed in a.spec.seeds if all(seed in pair.seeds for pair in pairs)]
    if not pairs or not seeds:
        return None
    means = [
        np.mean([_correct(a, pair.arm_a, seeds) for pair in pairs], axis=0),
        np.mean([_correct(b, pair.arm_b, seeds) for pair in pairs], axis=0),
    ]
    ratios = {
        cost: [ratio for pair in pairs if cost in pair.costs and (ratio := pair.costs[cost].ratio)] for cost in COMPARED
    }
    return OverallDifference(
        **dict(_difference(*means)),
        arms=len(pairs),
        left_out=left_out,
        seeds=tuple(seeds),
        cost_ratios={
            cost: float(np.exp(np.mean(np.log(values)))) for cost, values in ratios.items() if len(values) == len(pairs)
        },
    )


def _notes(first: _Side, other: _Side, pairs: Sequence[ArmPair], best: ArmPair | None) -> list[str]:
    """What a reader must know, in sentences."""
    notes = []
    for side in (first, other):
        accepted = sorted({finding.name for finding in side.results.summary.audit if _ignored(finding)})
        if accepted:
            notes.append(f"{side.name}'s accuracies mean nothing: it went on in spite of {', '.join(accepted)}.")
        idle = [arm.arm for arm in side.results.summary.scored_arms if not arm.learned]
        if idle:
            they = "it" if len(idle) == 1 else "them"
            notes.append(f"Of {side.name}, {', '.join(idle)} did not learn this task: no verdict is about {they}.")
    apart = [pair.arm_a for pair in pairs if not pair.seeds]
    if apart:
        notes.append(f"No seed has results in both {first.name} and {other.name} for {', '.join(apart)}.")
    if not pairs:
        notes.append(f"No arm of {first.name} has the name or the options of one in {other.name}.")
    if best and best.seeds:
        notes.append(
            "Each study's most accurate arm was picked by the test examples on which it is compared, "
            "which flatters the study with more arms or a closer race."
        )
    return notes


def _ignored(finding: Finding) -> bool:
    return finding.accepted and finding.severity == "error"
