"""Test accuracy against the number of training examples, by arm and by baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.analysis.statistics import mean_interval
from tuneoff.data.parts import size_name
from tuneoff.records.summary import BaselineCurvePoint, LearningCurvePoint, LearningCurves

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


def learning_curves(results: StudyResults) -> LearningCurves | None:
    """The learning curves of a study with `train_sizes`; None for other studies."""
    sizes = results.spec.data.train_sizes
    if sizes is None:
        return None
    baselines = {size: results.prepared.part(size_name(size)).baselines for size in sizes}
    return LearningCurves(
        train_sizes=sizes,
        arms={arm.name: tuple(_point(results, arm.name, size) for size in sizes) for arm in results.spec.arms},
        baselines={
            name: tuple(
                BaselineCurvePoint(train_size=size, test_accuracy=baselines[size][name].test_accuracy)
                for size in sizes
                if name in baselines[size]
            )
            for name in results.prepared.baselines
        },
    )


def _point(results: StudyResults, arm: str, train_size: int) -> LearningCurvePoint:
    correct = results.correct(arm, train_size)
    accuracy = mean_interval(correct) if len(correct) else None
    return LearningCurvePoint(train_size=train_size, runs=len(correct), test_accuracy=accuracy)
