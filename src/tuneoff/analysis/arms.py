"""What is said of each arm: accuracy, calibration, costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.analysis.arm_costs import measure_costs
from tuneoff.analysis.folds import only_rate
from tuneoff.analysis.learning import learning_of
from tuneoff.analysis.reliability import calibrate
from tuneoff.analysis.statistics import mean_interval
from tuneoff.records.arm_summary import ArmCosts, ArmSummary, FailedRun, ScoredArm
from tuneoff.tasks.objectives.auroc import Auroc
from tuneoff.tasks.objectives.average_precision import AveragePrecision
from tuneoff.tasks.objectives.d2_log_loss import log_losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults
    from tuneoff.analysis.score_table import ScoreTable
    from tuneoff.records.class_scores import ByClass


def describe_arms(
    results: StudyResults, correct: Mapping[str, NDArray[np.float64]], scores: Mapping[str, ScoreTable]
) -> tuple[ArmSummary, ...]:
    """The arms in `summary.json`, in the study's order.

    Args:
        results: of the study.
        correct: by arm, which examples its runs got right, shape (seeds, examples); no rows of numbers.
        scores: by arm, of the study's objective.
    """
    costs = measure_costs({arm.name: results.runs_by_seed(arm.name) for arm in results.spec.arms})
    return tuple(
        _scored(results, _described(results, arm.name), correct[arm.name], scores[arm.name], costs[arm.name])
        if arm.name in costs
        else _described(results, arm.name)
        for arm in results.spec.arms
    )


def _described(results: StudyResults, name: str) -> ArmSummary:
    """An arm without its scores and costs."""
    runs = results.of_arm(name)
    spec = next(arm for arm in results.spec.arms if arm.name == name)
    return ArmSummary(
        arm=name,
        method=spec.method,
        learning_rate=only_rate(runs),
        learning=learning_of(results, name),
        runs=len(runs),
        seeds=tuple(run.seed for run in runs),
        failed=tuple(
            FailedRun(seed=run.seed, part=run.part, status=run.status, error=run.error)
            for run in results.failed
            if run.arm == name
        ),
    )


def _scored(
    results: StudyResults,
    arm: ArmSummary,
    correct: NDArray[np.float64],
    score: ScoreTable,
    costs: tuple[ArmCosts, ...],
) -> ScoredArm:
    runs = results.of_arm(arm.arm)
    spec = next(spec for spec in results.spec.arms if spec.name == arm.arm)
    calibrated = calibrate(results, arm.arm)
    return ScoredArm(
        **dict(arm),
        **dict(costs[0]),
        test_score=mean_interval(score.values, results.objective.lowest, score.largest),
        test_scores=tuple(float(row.mean()) for row in score.values),
        test_accuracy=mean_interval(correct) if len(correct) else None,
        test_accuracies=tuple(run.test_accuracy for run in runs if run.test_accuracy is not None),
        test_macro_f1=_mean(run.test_macro_f1 for run in runs),
        test_metrics={
            **{name: float(np.mean([run.test_metrics[name] for run in runs])) for name in runs[0].test_metrics},
            **_of_probabilities(results, arm.arm),
        },
        by_class=_by_class(results, arm.arm),
        expected_calibration_error=_mean(one.error for one in calibrated.plain),
        calibrated_error=_mean(one.error for one in calibrated.tempered),
        brier_score=_mean(one.brier for one in calibrated.plain),
        reliability=calibrated.bins,
        validation_accuracy=_mean(run.validation_accuracy for run in runs),
        trainable_parameters=runs[0].parameters.trainable,
        parameters=runs[0].parameters,
        checkpoint_bytes=max(run.checkpoint_bytes for run in runs),
        # Runs are timed as they were trained. Virtual tokens lengthen each text, merged or not.
        adapter_unmerged=spec.mergeable and not spec.virtual_tokens and runs[0].parameters.adapter > 0,
        other_costs=costs[1:],
    )


def _by_class(results: StudyResults, arm: str) -> ByClass | None:
    """Scores of each class, with what is answered above which probability."""
    names = results.prepared.label_names
    found = results.task.by_class(results.answers(arm), names)
    chosen = [run.thresholds for runs in results.runs_by_seed(arm) for run in runs if run.thresholds]
    if found is None or not chosen:
        return found
    means = np.mean(chosen, axis=0)
    of_names = (1 - means[0], means[0]) if len(means) == 1 else means
    classes = {
        name: found.classes[name].model_copy(update={"threshold": float(threshold)})
        for name, threshold in zip(names, of_names, strict=True)
    }
    return found.model_copy(update={"classes": classes})


def _of_probabilities(results: StudyResults, arm: str) -> dict[str, float]:
    """What an arm's probabilities are worth: means over its runs; nothing of numbers."""
    if results.task.kind == "number":
        return {}
    found = []
    for runs, frame in zip(results.runs_by_seed(arm), results.predictions(arm), strict=True):
        truth, chances = results.answers_of(frame)[0], results.probabilities(runs, frame)
        losses = float(log_losses(truth, chances).mean()) / (chances.shape[1] if truth.ndim == 2 else 1)
        found.append((Auroc.value(truth, chances), AveragePrecision.value(truth, chances), losses))
    return dict(zip(("auroc", "average_precision", "log_loss"), map(float, np.mean(found, axis=0)), strict=True))


def _mean(values: Iterable[float | None]) -> float | None:
    """None where one is missing, or there are none."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    return float(np.mean(numbers)) if numbers and len(numbers) == len(known) else None
