"""Test accuracy against the number of training examples, by arm and by baseline."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tuneoff.analysis.statistics import mean_interval
from tuneoff.data.parts import size_name

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


def learning_curves(results: StudyResults) -> dict[str, Any] | None:
    """The learning curves of a study with `train_sizes`, as plain JSON; None for other studies.

    Returns:
        `train_sizes`, ascending; `arms`: by arm, for each size `train_size`, `runs` that succeeded and `test_accuracy`
        (`mean`, `ci_low`, `ci_high`; None where there is no such run); `baselines`: by baseline, for each size
        `train_size` and `test_accuracy`.
    """
    sizes = results.spec.data.train_sizes
    if sizes is None:
        return None
    baselines = {size: results.prepared.part(size_name(size)).baselines for size in sizes}
    return {
        "train_sizes": list(sizes),
        "arms": {arm.name: [_point(results, arm.name, size) for size in sizes] for arm in results.spec.arms},
        "baselines": {
            name: [
                {"train_size": size, "test_accuracy": baselines[size][name].test_accuracy}
                for size in sizes
                if name in baselines[size]
            ]
            for name in results.prepared.baselines
        },
    }


def _point(results: StudyResults, arm: str, train_size: int) -> dict[str, Any]:
    correct = results.correct(arm, train_size)
    accuracy = asdict(mean_interval(correct)) if len(correct) else None
    return {"train_size": train_size, "runs": len(correct), "test_accuracy": accuracy}
