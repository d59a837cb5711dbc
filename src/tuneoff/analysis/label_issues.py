"""Labels that are worth a look: those that all arms that learned call wrong with confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tuneoff.analysis.learning import LEARNED, learning_of, run_state
from tuneoff.analysis.source_rows import source_rows
from tuneoff.analysis.statistics import NONE, called_wrong, softmax
from tuneoff.data.parts import part_names
from tuneoff.records.label_issue import LabelIssue, LabelIssues

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults


def find_label_issues(results: StudyResults) -> LabelIssues:
    """The labels of test examples that all arms that learned call wrong with confidence, the surest first.

    No run was trained on the examples that it tests. Probabilities are means over those of an arm's seeds that learned;
    an arm that did not learn has no say.
    """
    frames = {arm.name: _of_seeds_that_learned(results, arm.name) for arm in results.spec.arms}
    frames = {arm: of_arm for arm, of_arm in frames.items() if of_arm}
    if not frames:
        return LabelIssues(arms=(), examples=0, found=())
    first = next(iter(frames.values()))[0]
    labels = first["label"].to_numpy()
    probabilities = np.stack([_mean_probabilities(of_arm) for of_arm in frames.values()])
    splits = _splits(results, first)
    said = np.full(len(labels), NONE)
    for split in np.unique(splits):  # folds are tested by other models, each with its own thresholds
        there = splits == split
        said[there] = called_wrong(labels[there], probabilities[:, there])
    examples = np.flatnonzero(said != NONE)
    mean = probabilities.mean(axis=0)
    of_label, of_said = mean[examples, labels[examples]], mean[examples, said[examples]]
    order = np.argsort(of_label - of_said, kind="stable")
    names = results.prepared.label_names
    return LabelIssues(
        arms=tuple(frames),
        examples=len(labels),
        found=tuple(
            LabelIssue(
                file=source.file,
                row=source.row,
                split=str(splits[examples[place]]),
                label=names[labels[examples[place]]],
                arms_say=names[said[examples[place]]],
                label_probability=float(of_label[place]),
                arms_say_probability=float(of_said[place]),
                text=source.text,
                text_pair=source.text_pair,
            )
            for place, source in zip(order, source_rows(results, examples[order].tolist()), strict=True)
        ),
    )


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
