"""What a task is: what a label is, how it is learned, and what answers to it are worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneoff.data.label_reader import LabelReader
    from tuneoff.data.splits import Splits
    from tuneoff.records.baselines import Baseline
    from tuneoff.records.class_scores import ByClass
    from tuneoff.records.label_kind import LabelKind
    from tuneoff.records.saved_model import TextRules
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.data import DataSpec
    from tuneoff.tasks.losses import Loss
    from tuneoff.tasks.objectives.base import Objective

Codes = NDArray[np.integer[Any]]
"""A number for each different label, shape (examples,)."""
Thresholds = tuple[float, ...]
Answers = NDArray[Any]
"""Labels, or what a model says in their place: classes (examples,), sets (examples, labels), or numbers (examples,)."""


class Task(ABC):
    """How the labels of one study are learned and scored.

    Labels are codes wherever they are stored, packed and batched; what a code stands for is in a table. A subclass of
    another package is found by an entry point of the group `tuneoff.tasks`.

    Args:
        rules: the names of what the model gives, and of a number its scale.
        table: what each code stands for, shape (codes, outputs); None where a code is a class, or no label is needed.

    Attributes:
        name: what `data.task` calls it.
        problem_type: what transformers calls it.
        objective: the metric that a study goes by which names none.
        is_classes: whether a label is one of several classes, which can be taken for each other.
        may_be_none: whether a label that is left empty says that there is none, rather than that it is missing.
        guess: what the baseline `majority` is called in a sentence.
    """

    name: ClassVar[str]
    problem_type: ClassVar[str]
    objective: ClassVar[str]
    kind: ClassVar[LabelKind]
    guess: ClassVar[str] = "the majority class"

    def __init__(self, rules: TextRules, table: NDArray[np.float64] | None = None) -> None:
        self.rules = rules
        self.table = table

    @classmethod
    def registered_name(cls) -> str | None:
        """What a study file calls it; None of a class that only others derive from."""
        return cls.__dict__.get("name")

    @classmethod
    @abstractmethod
    def reader(cls, spec: DataSpec, column: str, others: Sequence[str]) -> LabelReader:
        """What reads the labels of a source.

        Args:
            spec: `[data]`.
            column: what the source calls the column of labels.
            others: the columns that look like labels beside it.
        """

    @classmethod
    @abstractmethod
    def baselines(cls, splits: Splits, objective: type[Objective] | None = None) -> dict[str, Baseline]:
        """The cheap references, fitted on train and scored on test, by name; one is called `majority`.

        Args:
            splits: of the data.
            objective: that thresholds are chosen for, as those of the arms are, or that judges probabilities; None
                where answers are all that is needed, and are the most probable.
        """

    @abstractmethod
    def loss(self, training: TrainingSpec, train: Codes) -> Loss:
        """What training makes small.

        Args:
            training: the study's.
            train: labels of the run's training split.
        """

    def likelihood(self) -> Loss | None:
        """The negative log-likelihood of labels, which probabilities are fitted by; None where there are none."""
        return None

    @abstractmethod
    def truth(self, codes: Codes) -> Answers:
        """Labels as they are compared with answers."""

    @abstractmethod
    def answers(self, logits: NDArray[np.floating[Any]]) -> Answers:
        """What the model says, of logits of shape (examples, outputs)."""

    def judged(self, objective: type[Objective], logits: NDArray[np.floating[Any]]) -> Answers:
        """What an objective judges: answers, or probabilities, shape (examples, outputs)."""
        return self.answers(logits) if objective.of == "answers" else self.probabilities(logits)

    @classmethod
    def has_thresholds(cls, objective: type[Objective], outputs: int) -> bool:
        """Whether answers hang on thresholds that are chosen for an objective.

        Args:
            objective: of the study.
            outputs: how many outputs the model has.
        """
        return False

    def thresholds(self, objective: type[Objective], logits: NDArray[np.floating[Any]], codes: Codes) -> Thresholds:
        """Probabilities from which labels are answered, see `TextRules.thresholds`; none where there are none.

        Args:
            objective: for which `has_thresholds` is true.
            logits: of the validation split, shape (examples, outputs).
            codes: its labels.
        """
        return ()

    @abstractmethod
    def probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Of each output, at the rules' temperature, shape (examples, outputs); of a number none, (examples, 0)."""

    @classmethod
    @abstractmethod
    def in_words(cls, answers: Answers, names: Sequence[str]) -> list[str]:
        """Answers as people read them."""

    @classmethod
    @abstractmethod
    def given(cls, answers: Answers, names: Sequence[str]) -> list[Any]:
        """Answers as a program takes them: a name, a tuple of names, or a number."""

    @classmethod
    def correct(cls, truth: Answers, answers: Answers) -> NDArray[np.bool_] | None:
        """Which answers are right, shape (examples,); None where an answer is more or less near."""
        return None

    def largest_share(self, logits: NDArray[np.floating[Any]]) -> float:
        """Share of examples that are given the most frequent answer; 1 where predictions are constant."""
        answers = self.answers(logits)
        return float(np.unique(answers, axis=0, return_counts=True)[1].max() / len(answers))

    @classmethod
    def counts(cls, answers: Answers, names: int) -> NDArray[np.int64] | None:
        """How many answers name each class or label, shape (names,); None where they are numbers."""
        return None

    @classmethod
    def is_guessing(cls, truth: Answers, answers: Answers, constant: Answers) -> bool:
        """Whether answers are no better than a constant one, within two standard errors.

        Args:
            truth: labels of the test split.
            answers: likewise of a model.
            constant: likewise of the baseline `majority`.
        """
        return False

    @classmethod
    def by_class(cls, scored: Sequence[tuple[Answers, Answers]], names: Sequence[str]) -> ByClass | None:
        """Scores of each class over runs, of truth and answers; None where there are none."""
        return None

    @classmethod
    def other_scores(cls, truth: Answers, answers: Answers) -> Mapping[str, float]:
        """What else is stored of answers to the test split, by name."""
        return {}

    def certainty(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """How far each example's logits are from another answer, shape (examples,)."""
        return np.full(len(logits), np.inf)

    @classmethod
    def stored(cls, values: NDArray[Any]) -> Answers:
        """A column of `predictions.parquet` as it is compared: what `as_column` made of it."""
        return np.asarray(values)

    @classmethod
    def as_column(cls, answers: Answers) -> Any:
        """Answers as a column of `predictions.parquet`."""
        return answers
