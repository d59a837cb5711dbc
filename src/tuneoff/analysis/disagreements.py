"""Test examples on which arms disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.errors import damaged

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults

MOST = 10
LETTERS = 300
"""Of each text, from its beginning."""


def find_disagreements(results: StudyResults) -> list[dict[str, Any]]:
    """The test examples whose arms differ most in how often they are right, as plain JSON; at most ten.

    An arm's share of right answers is taken over its seeds, and examples are ordered by the variance of that share
    between arms. Examples on which all arms do equally well are left out, so that there may be none.

    Returns:
        For each example `example` (row of `data/test.parquet`), `text` (with ` / ` before the second of a pair; the
        first 300 characters of each), `label`, and by arm in the study's order `right` (share of seeds, 0 to 1) and
        `answer` (the label that it gave most often).
    """
    predictions = {arm.name: results.predictions(arm.name) for arm in results.spec.arms}
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
            "text": text,
            "label": names[truth[row]],
            "arms": {
                arm: {"right": float(right[arm][row]), "answer": names[np.bincount(given[:, row]).argmax()]}
                for arm, given in answers.items()
            },
        }
        for row, text in zip(chosen, _texts(results, chosen), strict=True)
    ]


def _texts(results: StudyResults, rows: list[int]) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = results.folder / "data" / "test.parquet"
    try:
        columns = [name for name in ("text", "text_pair") if name in pq.read_schema(path).names]
        table = pq.read_table(path, columns=columns).take(pa.array(rows, pa.int64()))
    except (OSError, pa.ArrowInvalid) as error:
        raise damaged(path, error) from error
    return [" / ".join(text[:LETTERS] for text in texts) for texts in zip(*table.to_pydict().values(), strict=True)]
