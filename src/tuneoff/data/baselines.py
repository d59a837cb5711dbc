"""The baselines of folds as those of the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuneoff.records.baselines import Baseline


def pooled_baselines(by_fold: Sequence[Mapping[str, Baseline]]) -> dict[str, Baseline]:
    """Predictions in the order of folds, and the accuracy over all of them.

    Args:
        by_fold: the baselines of each; only those of all folds are kept, `trained_on` is that of the first.
    """
    pooled = {}
    for name, first in by_fold[0].items():
        if all(name in baselines for baselines in by_fold):
            of_folds = [baselines[name] for baselines in by_fold]
            predictions: tuple[Any, ...] = tuple(answer for one in of_folds for answer in one.predictions)
            right = [one.test_accuracy * len(one.predictions) for one in of_folds if one.test_accuracy is not None]
            accuracy = math.fsum(right) / len(predictions) if right else None
            probabilities = tuple(row for one in of_folds for row in one.probabilities)
            pooled[name] = first.model_copy(
                update={"test_accuracy": accuracy, "predictions": predictions, "probabilities": probabilities}
            )
    return pooled
