"""Test examples on which arms disagree."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.analysis.source_rows import SourceRow, source_rows
from tuneoff.core.texts import shortened
from tuneoff.records.disagreement import Answers, Disagreement

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults

MOST = 10
LETTERS = 300
"""Of each text, from its beginning, at most."""


def find_disagreements(results: StudyResults) -> list[Disagreement]:
    """The test examples whose arms differ most in how often they are right; at most ten.

    Arms that did not learn are no part of it, since they would be wrong on half of all examples in any case.
    An arm's share of right answers is taken over its seeds, and examples are ordered by the variance of that share
    between arms. Examples on which all arms do equally well are left out, so that there may be none.
    """
    learned = [arm.arm for arm in results.summary.arms if arm.learned]
    right = {arm: found.mean(axis=0) for arm in learned if len(found := results.correct(arm))}
    if len(right) < 2:
        return []
    answers = {arm: results.answers(arm) for arm in right}
    truth = next(iter(answers.values()))[0][0]
    spread = np.stack(list(right.values())).var(axis=0)
    chosen = [int(row) for row in np.argsort(-spread, kind="stable")[:MOST] if spread[row] > 0]
    labels = results.task.in_words(truth[chosen], results.prepared.label_names)
    given = {
        arm: [results.task.in_words(said[chosen], results.prepared.label_names) for _, said in of_runs]
        for arm, of_runs in answers.items()
    }
    return [
        Disagreement(
            example=row,
            file=source.file,
            row=source.row,
            text=_text(source),
            label=labels[place],
            arms={
                arm: Answers(right=float(right[arm][row]), answer=_most_frequent([run[place] for run in of_runs]))
                for arm, of_runs in given.items()
            },
        )
        for place, (row, source) in enumerate(zip(chosen, source_rows(results, chosen), strict=True))
    ]


def _most_frequent(answers: list[str]) -> str:
    return Counter(answers).most_common(1)[0][0]


def _text(source: SourceRow) -> str:
    texts = [source.text] if source.text_pair is None else [source.text, source.text_pair]
    return " / ".join(shortened(text, LETTERS) for text in texts)
