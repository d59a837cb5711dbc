"""Test examples on which arms disagree."""

from __future__ import annotations

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
    predictions = {arm: results.predictions(arm) for arm in learned}
    predictions = {arm: frames for arm, frames in predictions.items() if frames}
    if len(predictions) < 2:
        return []
    truth = next(iter(predictions.values()))[0]["label"].to_numpy()
    answers = {
        arm: np.stack([frame["prediction"].to_numpy() for frame in frames]) for arm, frames in predictions.items()
    }
    right = {arm: (given == truth).mean(axis=0) for arm, given in answers.items()}
    spread = np.stack(list(right.values())).var(axis=0)
    chosen = [int(row) for row in np.argsort(-spread, kind="stable")[:MOST] if spread[row] > 0]
    names = results.prepared.label_names
    return [
        Disagreement(
            example=row,
            file=source.file,
            row=source.row,
            text=_text(source),
            label=names[truth[row]],
            arms={
                arm: Answers(right=float(right[arm][row]), answer=names[np.bincount(given[:, row]).argmax()])
                for arm, given in answers.items()
            },
        )
        for row, source in zip(chosen, source_rows(results, chosen), strict=True)
    ]


def _text(source: SourceRow) -> str:
    texts = [source.text] if source.text_pair is None else [source.text, source.text_pair]
    return " / ".join(shortened(text, LETTERS) for text in texts)
