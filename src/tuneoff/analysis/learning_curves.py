"""The objective on test against the number of training examples, by arm and baseline, and what more would bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.analysis.headlines import baseline_score
from tuneoff.analysis.learning import LEARNED, run_state
from tuneoff.analysis.statistics import Estimate, UnknowableError, extrapolate, mean_interval
from tuneoff.data.parts import size_name
from tuneoff.records.interval import MeanInterval
from tuneoff.records.summary import BaselineCurvePoint, Forecast, LearningCurvePoint, LearningCurves
from tuneoff.tasks.objectives.accuracy import Accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        forecasts={arm.name: _forecast(results, arm.name, sizes) for arm in results.spec.arms},
        baselines={
            name: tuple(
                BaselineCurvePoint(train_size=size, test_score=score)
                for size in sizes
                if name in baselines[size] and (score := baseline_score(results, baselines[size][name])) is not None
            )
            for name in results.prepared.baselines
        },
    )


def _point(results: StudyResults, arm: str, train_size: int) -> LearningCurvePoint:
    scores = results.scores(arm, train_size)
    runs = len(scores.values)
    interval = mean_interval(scores.values, results.objective.lowest, scores.largest) if runs else None
    return LearningCurvePoint(train_size=train_size, runs=runs, test_score=interval)


def _forecast(results: StudyResults, arm: str, sizes: Sequence[int]) -> Forecast:
    """What twice the largest size would bring, by the sizes at which most of an arm's runs learned."""
    twice = 2 * sizes[-1]
    learned = [size for size in sizes if _learned(results, arm, size)]
    try:
        if results.objective is not Accuracy:
            raise UnknowableError("that is told of accuracy alone")
        if sizes[-1] not in learned:
            raise UnknowableError(f"most of its runs learned nothing from {sizes[-1]:,}")
        found = extrapolate([results.scores(arm, size).values for size in learned], learned, twice)
    except UnknowableError as reason:
        return Forecast(train_size=twice, test_score=None, gain=None, why_not=str(reason))
    return Forecast(train_size=twice, test_score=_interval(found.accuracy), gain=_interval(found.gain), why_not=None)


def _learned(results: StudyResults, arm: str, train_size: int) -> bool:
    """Whether most runs of an arm learned from so many examples; else their errors are those of guessing."""
    states = [run_state(results, run) for (run,) in results.runs_by_seed(arm, train_size)]
    return 2 * states.count(LEARNED) > len(states)


def _interval(estimate: Estimate) -> MeanInterval:
    return MeanInterval(mean=estimate.mean, ci_low=estimate.low, ci_high=estimate.high, covers_seeds=True)
