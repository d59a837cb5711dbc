"""Whether what arms say is so: calibration of their probabilities, and predictions beside labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.analysis.statistics import Calibration, calibration_of
from tuneoff.records.reliability import ReliabilityBin
from tuneoff.records.saved_model import TextRules

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults

BINS = 10


def calibrate(
    results: StudyResults, frames: Sequence[pd.DataFrame]
) -> tuple[list[Calibration], tuple[ReliabilityBin, ...]]:
    """The calibration of each run, none where it gives no probabilities; and the bins of all runs together.

    Args:
        results: of the study.
        frames: test predictions of an arm's runs.
    """
    rules = TextRules(label_names=results.prepared.label_names, max_length=results.spec.data.max_length)
    task = results.task(rules)
    calibrations, said, so = [], [], []
    for frame in frames:
        truth, answers = results.answers_of(frame)
        probabilities = task.probabilities(np.stack(frame["logits"].to_list())).astype(np.float64)
        if not probabilities.shape[1]:
            said.append(np.asarray(answers, dtype=np.float64))
            so.append(np.asarray(truth, dtype=np.float64))
            continue
        calibrations.append(calibration_of(truth, probabilities))
        several = truth.ndim == 2
        said.append(probabilities.ravel() if several else probabilities.max(axis=1))
        so.append((truth.ravel() if several else answers == truth).astype(np.float64))
    numbers, labels = np.concatenate(said), np.concatenate(so)
    order = np.argsort(numbers, kind="stable")
    groups = np.array_split(order, BINS) if not calibrations else _tenths(numbers)
    return calibrations, tuple(
        ReliabilityBin(
            predicted=float(numbers[group].mean()), observed=float(labels[group].mean()), examples=len(group)
        )
        for group in groups
        if len(group)
    )


def _tenths(probabilities: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Which probabilities are in each tenth, which is open below and closed above."""
    bins = np.clip(np.ceil(probabilities * BINS).astype(int) - 1, 0, BINS - 1)
    return [np.flatnonzero(bins == one) for one in range(BINS)]
