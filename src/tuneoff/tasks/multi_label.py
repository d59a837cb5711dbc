"""Any number of labels an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.label_sets import LabelSets
from tuneoff.tasks.base import Answers, Codes, Task, Thresholds
from tuneoff.tasks.losses import BinaryCrossEntropy
from tuneoff.tasks.objectives.base import LabelObjective
from tuneoff.tasks.objectives.macro_f1 import MacroF1
from tuneoff.tasks.objectives.micro_f1 import MicroF1
from tuneoff.tasks.probabilities import log_odds_of, probabilities_at, sigmoid
from tuneoff.tasks.thresholds import choose_cuts

if TYPE_CHECKING:
    from tuneoff.data.splits import Splits
    from tuneoff.records.baselines import Baseline
    from tuneoff.records.class_scores import ByClass
    from tuneoff.records.label_kind import LabelKind
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.data import DataSpec
    from tuneoff.tasks.objectives.base import Objective


class MultiLabel(Task):
    """The model has an output for each label, and answers those whose probability is above their thresholds."""

    name: ClassVar[str] = "multi_label"
    problem_type: ClassVar[str] = "multi_label_classification"
    objective: ClassVar[str] = "micro_f1"
    kind: ClassVar[LabelKind] = "labels"
    guess: ClassVar[str] = "the majority of each label"

    @classmethod
    def reader(cls, spec: DataSpec, column: str, others: Sequence[str]) -> LabelSets:
        return LabelSets(column, spec.label_separator)

    @classmethod
    def baselines(cls, splits: Splits, objective: type[Objective] | None = None) -> dict[str, Baseline]:
        from tuneoff.tasks.baselines import label_baselines

        return label_baselines(splits, objective)

    def loss(self, training: TrainingSpec, train: Codes) -> BinaryCrossEntropy:
        return self.likelihood()

    def likelihood(self) -> BinaryCrossEntropy:
        assert self.table is not None
        return BinaryCrossEntropy(self.table.astype(np.float32))

    def truth(self, codes: Codes) -> Answers:
        assert self.table is not None
        return self.table[codes].astype(np.int8)

    def answers(self, logits: NDArray[np.floating[Any]]) -> Answers:
        return (self._margins(logits) > 0).astype(np.int8)

    @classmethod
    def has_thresholds(cls, objective: type[Objective], outputs: int) -> bool:
        return issubclass(objective, LabelObjective)

    def thresholds(self, objective: type[Objective], logits: NDArray[np.floating[Any]], codes: Codes) -> Thresholds:
        assert issubclass(objective, LabelObjective)
        log_odds = logits.astype(np.float64) / self.rules.temperature
        return probabilities_at(choose_cuts(objective.of_labels, log_odds, self.truth(codes)))

    def _margins(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """How far each label's logit is above that from which it is answered, shape (examples, labels)."""
        return logits - self.rules.temperature * log_odds_of(self.rules.thresholds) if self.rules.thresholds else logits

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        return sigmoid(logits, self.rules.temperature)

    def certainty(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        return np.asarray(np.abs(self._margins(logits)).min(axis=1))

    @classmethod
    def in_words(cls, answers: Answers, names: Sequence[str]) -> list[str]:
        return [", ".join(name for name, has in zip(names, row, strict=True) if has) or "none" for row in answers]

    @classmethod
    def given(cls, answers: Answers, names: Sequence[str]) -> list[Any]:
        return [tuple(name for name, has in zip(names, row, strict=True) if has) for row in answers]

    @classmethod
    def correct(cls, truth: Answers, answers: Answers) -> NDArray[np.bool_] | None:
        return np.asarray((truth == answers).all(axis=1))

    @classmethod
    def counts(cls, answers: Answers, names: int) -> NDArray[np.int64] | None:
        return np.asarray(answers.sum(axis=0, dtype=np.int64))

    @classmethod
    def is_guessing(cls, truth: Answers, answers: Answers, constant: Answers) -> bool:
        reached = MicroF1.value(truth, constant)
        noise = 2 * np.sqrt(max(reached * (1 - reached), 1 / len(truth)) / len(truth))
        return bool(MicroF1.value(truth, answers) <= reached + noise)

    @classmethod
    def by_class(cls, scored: Sequence[tuple[Answers, Answers]], names: Sequence[str]) -> ByClass | None:
        from tuneoff.tasks.by_class import score_labels

        return score_labels(scored, names)

    @classmethod
    def other_scores(cls, truth: Answers, answers: Answers) -> Mapping[str, float]:
        return {
            "micro_f1": MicroF1.value(truth, answers),
            "macro_f1": MacroF1.value(truth, answers),
            "hamming_loss": float((truth != answers).mean()),
        }

    @classmethod
    def stored(cls, values: NDArray[Any]) -> Answers:
        return np.stack(list(values))

    @classmethod
    def as_column(cls, answers: Answers) -> Any:
        return list(answers)
