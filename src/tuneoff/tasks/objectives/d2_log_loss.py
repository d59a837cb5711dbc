"""The share of guessing's log loss that is explained."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneoff.tasks.contributions import Contributions, Floats, contributions_left_out
from tuneoff.tasks.objectives.base import ProbabilityObjective

TINY = float(np.finfo(np.float64).eps)


class D2LogLoss(ProbabilityObjective):
    """1 less the log loss in units of that of the classes' shares: 1 is sure and right, 0 no better than the shares.

    It orders models as the log loss does (`d2_log_loss_score` of scikit-learn), in units that are the same for all
    data. Of several labels the log losses of all are added up.
    """

    name: ClassVar[str] = "d2_log_loss"
    label: ClassVar[str] = "explained log loss"
    lowest: ClassVar[float | None] = None

    @classmethod
    def value(cls, labels: ArrayLike, predictions: ArrayLike) -> float:
        truth = np.asarray(labels)
        guessed = float(_guessing(truth, np.asarray(predictions).shape[1]).sum())
        return 1 - float(log_losses(truth, np.asarray(predictions)).sum()) / guessed if guessed > 0 else 0.0

    @classmethod
    def contributions(cls, labels: NDArray[Any], predictions: NDArray[Any]) -> Contributions:
        errors, guessed = log_losses(labels, predictions), _guessing(labels, predictions.shape[1])
        if not guessed.sum() > 0:
            return Contributions(np.zeros(len(labels)), 1.0, 1.0)
        of_others = _guessing_without_each(labels, predictions.shape[1])
        without = 1 - (errors.sum() - errors) / np.maximum(of_others, TINY)
        return contributions_left_out(cls.value(labels, predictions), without, guessed / guessed.mean())


def log_losses(labels: NDArray[Any], chances: NDArray[Any]) -> Floats:
    """What each example loses, in nats, shape (examples,); of several labels the sum over them.

    Args:
        labels: class indices, shape (examples,), or 0 or 1, shape (examples, labels).
        chances: probabilities, shape (examples, classes or labels).
    """
    known = np.clip(np.asarray(chances, dtype=np.float64), TINY, 1 - TINY)
    if labels.ndim == 1:
        return np.asarray(-np.log(known[np.arange(len(labels)), labels]))
    return np.asarray(-np.where(labels > 0, np.log(known), np.log1p(-known)).sum(axis=1))


def _guessing(labels: NDArray[Any], outputs: int) -> Floats:
    """What each example loses where the shares of the classes among these examples are said of all."""
    if labels.ndim == 1:
        shares = np.bincount(labels, minlength=outputs) / len(labels)
    else:
        shares = labels.mean(axis=0, dtype=np.float64)
    return log_losses(labels, np.broadcast_to(shares, (len(labels), outputs)))


def _guessing_without_each(labels: NDArray[Any], outputs: int) -> Floats:
    """What guessing loses in all, where each of the examples is left out and shares are those of the others."""
    if labels.ndim == 1:
        counts = np.bincount(labels, minlength=outputs).astype(np.float64)
        return _loss_of_shares(counts - np.eye(outputs))[labels]
    has = labels.sum(axis=0, dtype=np.float64)
    counts = np.stack([len(labels) - has, has], axis=1)  # of each label, without and with it
    of_label = np.stack([_loss_of_shares(counts - gone) for gone in np.eye(2)], axis=1)
    return np.asarray(np.where(labels > 0, of_label[:, 1], of_label[:, 0]).sum(axis=1))


def _loss_of_shares(counts: Floats) -> Floats:
    """The log loss of saying the shares of some counts of all that are counted, shape (...), of (..., classes)."""
    known = np.maximum(counts, 0.0)
    total = known.sum(axis=-1)
    logs = np.log(np.where(known > 0, known, 1.0))
    return np.asarray(total * np.log(np.maximum(total, 1.0)) - (known * logs).sum(axis=-1))
