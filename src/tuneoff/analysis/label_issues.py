"""Labels that are worth a look: those that all arms that learned call wrong with confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from tuneoff.analysis.learning import LEARNED, learning_of, run_state
from tuneoff.analysis.source_rows import source_rows
from tuneoff.analysis.statistics import NONE, called_wrong
from tuneoff.data.parts import part_names
from tuneoff.records.label_issue import LabelCheck, LabelIssue
from tuneoff.tasks.probabilities import softmax

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults


def check_labels(results: StudyResults) -> LabelCheck | None:
    """How many labels of test examples all arms that learned call wrong with confidence; None where no arm did."""
    answers = _Answers.of(results)
    if answers is None:
        return None
    return LabelCheck(arms=answers.arms, examples=len(answers.labels), listed=int((answers.said != NONE).sum()))


def find_label_issues(results: StudyResults) -> tuple[LabelIssue, ...]:
    """These labels, the surest first."""
    answers = _Answers.of(results)
    if answers is None:
        return ()
    examples = np.flatnonzero(answers.said != NONE)
    of_label = answers.probabilities[examples, answers.labels[examples]]
    of_said = answers.probabilities[examples, answers.said[examples]]
    order = np.argsort(of_label - of_said, kind="stable")
    names = results.prepared.label_names
    return tuple(
        LabelIssue(
            file=source.file,
            row=source.row,
            split=str(answers.splits[examples[place]]),
            label=names[answers.labels[examples[place]]],
            arms_say=names[answers.said[examples[place]]],
            label_probability=float(of_label[place]),
            arms_say_probability=float(of_said[place]),
            text=source.text,
            text_pair=source.text_pair,
        )
        for place, source in zip(order, source_rows(results, examples[order].tolist()), strict=True)
    )


@dataclass(frozen=True)
class _Answers:
    """What the arms that learned say of the test examples, none of which their runs were trained on.

    Attributes:
        arms: their names.
        splits: where each example was tested.
        labels: as given.
        said: what all arms say instead with confidence, or `NONE`.
        probabilities: mean over arms of the means over seeds that learned, shape (examples, classes).
    """

    arms: tuple[str, ...]
    splits: NDArray[np.str_]
    labels: NDArray[np.int64]
    said: NDArray[np.intp]
    probabilities: NDArray[np.float64]

    @classmethod
    def of(cls, results: StudyResults) -> Self | None:
        if results.task.kind != "class":
            return None
        frames = {arm.name: _of_seeds_that_learned(results, arm.name) for arm in results.spec.arms}
        frames = {arm: of_arm for arm, of_arm in frames.items() if of_arm}
        if not frames:
            return None
        first = next(iter(frames.values()))[0]
        labels, splits = first["label"].to_numpy(), _splits(results, first)
        probabilities = np.stack([_mean_probabilities(of_arm) for of_arm in frames.values()])
        said = np.full(len(labels), NONE)
        for split in np.unique(splits):  # folds are tested by other models, each with its own thresholds
            there = splits == split
            said[there] = called_wrong(labels[there], probabilities[:, there])
        return cls(tuple(frames), splits, labels, said, probabilities.mean(axis=0))


def _of_seeds_that_learned(results: StudyResults, arm: str) -> list[pd.DataFrame]:
    learning = learning_of(results, arm)
    if learning is None or learning.state != LEARNED:
        return []
    return [
        frame
        for runs, frame in zip(results.runs_by_seed(arm), results.predictions(arm), strict=True)
        if all(run_state(results, run) == LEARNED for run in runs)
    ]


def _mean_probabilities(frames: list[pd.DataFrame]) -> NDArray[np.float64]:
    """Over seeds, shape (examples, classes)."""
    return np.mean([softmax(np.stack(frame["logits"].to_list())) for frame in frames], axis=0, dtype=np.float64)


def _splits(results: StudyResults, frame: pd.DataFrame) -> NDArray[np.str_]:
    """The split or fold of each test example."""
    if results.spec.data.folds is None:
        return np.full(len(frame), "test")
    return np.array(part_names(results.spec.data))[(frame["example"] == 0).cumsum() - 1]
