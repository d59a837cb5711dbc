"""What is stored of answers to a test split."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from tuneoff.tasks.objectives.macro_f1 import MacroF1

if TYPE_CHECKING:
    from tuneoff.tasks.base import Answers, Task


class StoredScores(TypedDict):
    """Those of `records.run.Scores` that answers decide."""

    test_accuracy: float | None
    test_macro_f1: float | None
    test_metrics: dict[str, float]


def scores_of(task: Task | type[Task], truth: Answers, answers: Answers) -> StoredScores:
    """Accuracy and macro F1 where answers are right or wrong, and what else the task has."""
    right = task.correct(truth, answers)
    return {
        "test_accuracy": None if right is None else float(right.mean()),
        "test_macro_f1": None if right is None else MacroF1.value(truth, answers),
        "test_metrics": dict(task.other_scores(truth, answers)),
    }
