"""Test examples on which arms disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.analysis.fitness import has_learned
from tuneoff.core.errors import damaged
from tuneoff.core.texts import shortened

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults

MOST = 10
LETTERS = 300
"""Of each text, from its beginning, at most."""


def find_disagreements(results: StudyResults) -> list[dict[str, Any]]:
    """The test examples whose arms differ most in how often they are right, as plain JSON; at most ten.

    Arms that did not learn are no part of it, since they would be wrong on half of all examples in any case.
    An arm's share of right answers is taken over its seeds, and examples are ordered by the variance of that share
    between arms. Examples on which all arms do equally well are left out, so that there may be none.

    Returns:
        For each example `example` (row of `data/test.parquet`, from 0), `file` and `row` (where the user finds it: the
        file or dataset, and the row there, from 1; None for data that an older version has prepared), `text` (with
        ` / ` before the second of a pair; of each at most the first 300 characters, in whole words), `label`, and by
        arm in the study's order `right` (share of seeds, 0 to 1) and `answer` (the label that it gave most often).
    """
    learned = [arm["arm"] for arm in results.summary["arms"] if has_learned(arm)]
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
        {
            "example": row,
            **shown,
            "label": names[truth[row]],
            "arms": {
                arm: {"right": float(right[arm][row]), "answer": names[np.bincount(given[:, row]).argmax()]}
                for arm, given in answers.items()
            },
        }
        for row, shown in zip(chosen, _rows(results, chosen), strict=True)
    ]


def _rows(results: StudyResults, rows: list[int]) -> list[dict[str, Any]]:
    """The `file`, `row` and `text` of some test examples."""
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
        {
            "file": row.get("source_file"),
            "row": row.get("source_row"),
            "text": " / ".join(shortened(row[name], LETTERS) for name in ("text", "text_pair") if name in row),
        }
        for row in table.to_pylist()
    ]
