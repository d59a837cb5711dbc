"""A number an example, such as a rating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.numbers import Numbers
from tuneoff.tasks.base import Answers, Codes, Task
from tuneoff.tasks.losses import SquaredError
from tuneoff.tasks.objectives.pearson import Pearson
from tuneoff.tasks.objectives.r2 import R2
from tuneoff.tasks.objectives.spearman import Spearman

if TYPE_CHECKING:
    from tuneoff.data.splits import Splits
    from tuneoff.records.baselines import Baseline
    from tuneoff.records.label_kind import LabelKind
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.data import DataSpec
    from tuneoff.tasks.objectives.base import Objective

NEARLY_CONSTANT = 0.01
"""Standard deviations of the labels within which answers are taken for the same."""


class Regression(Task):
    """The model has one output, which is the number less the mean of training, in its standard deviations.

    So learning rates, losses and the loss of guessing (1) mean the same whatever the numbers' scale.
    """

    name: ClassVar[str] = "regression"
    problem_type: ClassVar[str] = "regression"
    objective: ClassVar[str] = "r2"
    guess: ClassVar[str] = "the mean"
    kind: ClassVar[LabelKind] = "number"

    @classmethod
    def reader(cls, spec: DataSpec, column: str, others: Sequence[str]) -> Numbers:
        return Numbers(column)

    @classmethod
    def baselines(cls, splits: Splits, objective: type[Objective] | None = None) -> dict[str, Baseline]:
        from tuneoff.tasks.baselines import number_baselines

        return number_baselines(splits)

    def loss(self, training: TrainingSpec, train: Codes) -> SquaredError:
        assert self.table is not None
        scale = self.rules.scale
        return SquaredError(((self.table - scale.mean) / scale.deviation).astype(np.float32))

    def truth(self, codes: Codes) -> Answers:
        assert self.table is not None
        return self.table[codes, 0]

    def answers(self, logits: NDArray[np.floating[Any]]) -> Answers:
        return self.rules.scale.mean + self.rules.scale.deviation * logits[:, 0].astype(np.float64)

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        return np.zeros((len(logits), 0))

    @classmethod
    def in_words(cls, answers: Answers, names: Sequence[str]) -> list[str]:
        return [f"{answer:.4g}" for answer in answers]

    @classmethod
    def is_guessing(cls, truth: Answers, answers: Answers, constant: Answers) -> bool:
        # Answers of variance v that have nothing to do with the labels have an R² of -v, give or take two standard
        # errors of 2 √(v/n), which is at most 4/n for any v.
        return R2.value(truth, answers) <= 4 / len(truth)

    @classmethod
    def given(cls, answers: Answers, names: Sequence[str]) -> list[Any]:
        return [float(answer) for answer in answers]

    def largest_share(self, logits: NDArray[np.floating[Any]]) -> float:
        return float(logits.std() < NEARLY_CONSTANT)

    @classmethod
    def other_scores(cls, truth: Answers, answers: Answers) -> Mapping[str, float]:
        errors = np.asarray(truth) - np.asarray(answers)
        return {
            "r2": R2.value(truth, answers),
            "pearson": Pearson.value(truth, answers),
            "spearman": Spearman.value(truth, answers),
            "mae": float(np.abs(errors).mean()),
            "rmse": float(np.sqrt(np.square(errors).mean())),
        }
