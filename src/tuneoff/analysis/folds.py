"""The runs of one seed's folds as one result, for what is said of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneoff.analysis.arm_costs import alike, seed_mean, with_highest_peak
from tuneoff.records.measurements import MeasuredPeakBytes
from tuneoff.records.run import ScoredFolds, ScoredRun
from tuneoff.tasks.scores import scores_of

if TYPE_CHECKING:
    from tuneoff.tasks.base import Answers, Task
    from tuneoff.tasks.objectives.base import Objective

MEANS = (
    "train_seconds",
    "selected_train_seconds",
    "setup_seconds",
    "eval_seconds",
    "checkpoint_seconds",
    "wall_seconds",
    "energy_joules",
    "train_examples_per_second",
    "inference_latency_seconds",
    "inference_latency_p95_seconds",
    "inference_texts_per_second",
)
"""What a fold costs: as a study without folds would have it from one run."""


def pooled(
    runs: Sequence[ScoredRun],
    task: type[Task],
    objective: type[Objective],
    truth: Answers,
    answers: Answers,
    judged: Answers,
) -> ScoredFolds:
    """One result from those of a seed's folds.

    Args:
        runs: of all folds.
        task: says what answers are worth.
        objective: what the study goes by.
        truth: labels of all folds.
        answers: likewise what was predicted.
        judged: likewise what the objective judges.
    """
    measured = alike(runs)
    return ScoredFolds.model_validate(
        {
            **{name: getattr(measured[0], name) for name in ScoredFolds.model_fields},
            **{name: seed_mean(measured, name) for name in MEANS},
            "learning_rate": only_rate(runs),
            "validation_accuracy": seed_mean(runs, "validation_accuracy")
            if task.correct(truth, answers) is not None
            else None,
            **scores_of(task, truth, answers),
            "test_score": objective.value(truth, judged),
            "peak_memory_bytes": {
                name: max(getattr(run.peak_memory_bytes, name) for run in measured)
                for name in MeasuredPeakBytes.model_fields
            },
            "memory_parts": with_highest_peak(measured).memory_parts,
            "checkpoint_bytes": max(run.checkpoint_bytes for run in runs),
        }
    )


def only_rate(runs: Sequence[ScoredRun | ScoredFolds]) -> float | None:
    """The learning rate of runs; None where there are several, or no runs."""
    rates = {run.learning_rate for run in runs}
    return rates.pop() if len(rates) == 1 else None
