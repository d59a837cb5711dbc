"""Whether what arms say is so: calibration of their probabilities, and predictions beside labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.analysis.statistics import Calibration, calibration_of
from tuneoff.records.reliability import ReliabilityBin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults

BINS = 10


@dataclass(frozen=True)
class Calibrated:
    """What is known of how far an arm's predictions are so.

    Attributes:
        plain: of each run, of the softmax or sigmoid of its logits; empty where it gives no probabilities.
        tempered: likewise at its temperature.
        bins: of all runs together, at their temperatures.
    """

    plain: tuple[Calibration, ...]
    tempered: tuple[Calibration, ...]
    bins: tuple[ReliabilityBin, ...]


def calibrate(results: StudyResults, arm: str) -> Calibrated:
    """Compares an arm's predictions with the labels of the test split."""
    plain, tempered, said, so = [], [], [], []
    for runs, frame in zip(results.runs_by_seed(arm), results.predictions(arm), strict=True):
        truth, answers = results.answers_of(frame)
        if results.task.kind == "number":
            said.append(np.asarray(answers, dtype=np.float64))
            so.append(np.asarray(truth, dtype=np.float64))
            continue
        plain.append(calibration_of(truth, results.probabilities(runs, frame, tempered=False)))
        probabilities = results.probabilities(runs, frame)
        tempered.append(calibration_of(truth, probabilities))
        several = truth.ndim == 2
        said.append(probabilities.ravel() if several else probabilities[np.arange(len(answers)), answers])
        so.append((truth.ravel() if several else answers == truth).astype(np.float64))
    numbers, labels = np.concatenate(said), np.concatenate(so)
    groups = _tenths(numbers) if plain else np.array_split(np.argsort(numbers, kind="stable"), BINS)
    bins = tuple(
        ReliabilityBin(
            predicted=float(numbers[group].mean()), observed=float(labels[group].mean()), examples=len(group)
        )
        for group in groups
        if len(group)
    )
    return Calibrated(tuple(plain), tuple(tempered), bins)


def _tenths(probabilities: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Which probabilities are in each tenth, which is open below and closed above."""
    bins = np.clip(np.ceil(probabilities * BINS).astype(int) - 1, 0, BINS - 1)
    return [np.flatnonzero(bins == one) for one in range(BINS)]
