"""One class an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.class_labels import ClassLabels
from tuneoff.tasks.base import Answers, Codes, Task, Thresholds
from tuneoff.tasks.losses import CrossEntropy, balanced, by_class
from tuneoff.tasks.objectives.base import ClassObjective
from tuneoff.tasks.probabilities import log_odds_of, probabilities_at, softmax
from tuneoff.tasks.thresholds import choose_cuts, of_two_classes

if TYPE_CHECKING:
    from tuneoff.data.splits import Splits
    from tuneoff.records.baselines import Baseline
    from tuneoff.records.class_scores import ByClass
    from tuneoff.records.label_kind import LabelKind
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.data import DataSpec
    from tuneoff.tasks.objectives.base import Objective

TWO = 2
"""Classes, of which the second may have a threshold."""


class SingleLabel(Task):
    """Each text is of one class; the model has an output for each class, and the highest is the answer.

    Of two classes the second may have a threshold: from what probability on it is the answer.
    """

    name: ClassVar[str] = "single_label"
    problem_type: ClassVar[str] = "single_label_classification"
    objective: ClassVar[str] = "accuracy"
    kind: ClassVar[LabelKind] = "class"

    @classmethod
    def reader(cls, spec: DataSpec, column: str, others: Sequence[str]) -> ClassLabels:
        return ClassLabels(column, others)

    @classmethod
    def baselines(cls, splits: Splits, objective: type[Objective] | None = None) -> dict[str, Baseline]:
        from tuneoff.tasks.baselines import class_baselines

        return class_baselines(splits, objective)

    def loss(self, training: TrainingSpec, train: Codes) -> CrossEntropy:
        names, weights = self.rules.label_names, training.class_weights
        if weights == "balanced":
            return CrossEntropy(balanced(np.bincount(train, minlength=len(names))), training.label_smoothing)
        return CrossEntropy(None if weights is None else by_class(weights, names), training.label_smoothing)

    def likelihood(self) -> CrossEntropy:
        return CrossEntropy()

    def truth(self, codes: Codes) -> Answers:
        return codes

    def answers(self, logits: NDArray[np.floating[Any]]) -> Answers:
        return (self._margins(logits) > 0).astype(np.int64) if self.rules.thresholds else logits.argmax(axis=1)

    @classmethod
    def has_thresholds(cls, objective: type[Objective], outputs: int) -> bool:
        return outputs == TWO and issubclass(objective, ClassObjective)

    def thresholds(self, objective: type[Objective], logits: NDArray[np.floating[Any]], codes: Codes) -> Thresholds:
        assert issubclass(objective, ClassObjective)
        log_odds = (logits[:, 1:] - logits[:, :1]).astype(np.float64) / self.rules.temperature
        metric = of_two_classes(objective.of_counts, len(codes))
        return probabilities_at(choose_cuts(metric, log_odds, np.asarray(codes)[:, None]))

    def _margins(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """How far logits of two classes are on the second one's side of the threshold, shape (examples,)."""
        return logits[:, 1] - logits[:, 0] - self.rules.temperature * log_odds_of(self.rules.thresholds)

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        return softmax(logits, self.rules.temperature)

    def certainty(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        if self.rules.thresholds:
            return np.abs(self._margins(logits))
        ascending = np.sort(logits, axis=1)
        return np.asarray(ascending[:, -1] - ascending[:, -2])

    @classmethod
    def in_words(cls, answers: Answers, names: Sequence[str]) -> list[str]:
        return [names[answer] for answer in answers]

    @classmethod
    def given(cls, answers: Answers, names: Sequence[str]) -> list[Any]:
        return cls.in_words(answers, names)

    @classmethod
    def correct(cls, truth: Answers, answers: Answers) -> NDArray[np.bool_] | None:
        return np.asarray(truth) == np.asarray(answers)

    @classmethod
    def counts(cls, answers: Answers, names: int) -> NDArray[np.int64] | None:
        return np.bincount(answers, minlength=names)

    @classmethod
    def by_class(cls, scored: Sequence[tuple[Answers, Answers]], names: Sequence[str]) -> ByClass | None:
        from tuneoff.tasks.by_class import score_classes

        return score_classes(scored, names)
