"""Which of a run's evaluations its model is taken from, and the weights of the best one until training ends."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tuneoff.tasks.objectives.accuracy import Accuracy

if TYPE_CHECKING:
    from tuneoff.records.measurements import CurvePoint
    from tuneoff.spec import TrainingSpec
    from tuneoff.tasks.objectives.base import Objective

Weights = dict[str, torch.Tensor]


def selected(curve: Sequence[CurvePoint], training: TrainingSpec, objective: type[Objective]) -> int:
    """The place in a curve of the evaluation whose weights are tested and saved: the last, or the best.

    The best has the highest objective on validation; of equals it is the one with the lowest validation loss, then the
    earliest. In accuracy, examples have the weights of their classes where the study gives them any.
    """
    if training.select == "last":
        return len(curve) - 1

    def score(point: CurvePoint) -> float:
        weighted = point.validation_weighted_accuracy if objective.name == Accuracy.name else None
        return point.score if weighted is None else weighted

    return max(range(len(curve)), key=lambda place: (score(curve[place]), -curve[place].validation_loss, -place))


def is_over(curve: Sequence[CurvePoint], training: TrainingSpec, objective: type[Objective]) -> bool:
    """Whether so many evaluations brought nothing better that training ends."""
    if training.patience is None or not curve:
        return False
    return len(curve) - 1 - selected(curve, training, objective) >= training.patience


class KeptWeights:
    """The trained weights of the best evaluation so far, in a file without a name that goes when the process does.

    There they take no memory, neither the device's nor, on a CPU, that which a run is measured by.

    Args:
        folder: of the run, on whose disk there is room for a checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - is open as long as the run
        self._empty = True

    def keep(self, weights: Weights) -> None:
        """Takes these in the place of earlier ones."""
        self._file.seek(0)
        self._file.truncate()
        torch.save(weights, self._file)
        self._empty = False

    def read(self) -> Weights | None:
        """The weights, on the CPU; None before there are any."""
        if self._empty:
            return None
        self._file.seek(0)
        weights: Weights = torch.load(self._file, map_location="cpu", weights_only=True)
        return weights
