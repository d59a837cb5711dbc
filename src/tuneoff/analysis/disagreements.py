"""Test examples on which arms disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tuneoff.core.errors import damaged
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
            file=file,
            row=file_row,
            text=text,
            label=names[truth[row]],
            arms={
                arm: Answers(right=float(right[arm][row]), answer=names[np.bincount(given[:, row]).argmax()])
                for arm, given in answers.items()
            },
        )
        for row, (file, file_row, text) in zip(chosen, _rows(results, chosen), strict=True)
    ]


def _rows(results: StudyResults, rows: list[int]) -> list[tuple[str | None, int | None, str]]:
    """Of some test examples the file, the row there, and the text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = results.folder / "data" / "test.parquet"
    try:
        there = pq.read_schema(path).names
        columns = [name for name in ("text", "text_pair", "source_file", "source_row") if name in there]
        table = pq.read_table(path, columns=columns).take(pa.array(rows, pa.int64()))
    except (OSError, pa.ArrowInvalid) as error:
        raise damaged(path, error) from error
    return [
        (
            row.get("source_file"),
            row.get("source_row"),
            " / ".join(shortened(row[name], LETTERS) for name in ("text", "text_pair") if name in row),
        )
        for row in table.to_pylist()
    ]
