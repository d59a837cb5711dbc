"""What training makes small: cross-entropy, with weights of classes and smoothed labels where a study asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneoff.spec import TrainingSpec


@dataclass(frozen=True)
class Loss:
    """The loss of a run, as `torch.nn.functional.cross_entropy` defines its weighted mean.

    Losses that are reported are without the smoothing, so that a model that is right and sure has a loss near zero.

    Attributes:
        class_weights: one a class, each above 0; None where all count alike.
        label_smoothing: share of each label that is given to all classes evenly.
    """

    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, training: TrainingSpec, labels: NDArray[np.int64], label_names: Sequence[str]) -> Loss:
        """That of a run.

        Args:
            training: the study's.
            labels: class indices of the run's training split.
            label_names: of all classes, in the order of their indices.
        """
        weights = training.class_weights
        if weights == "balanced":
            return cls(balanced(np.bincount(labels, minlength=len(label_names))), training.label_smoothing)
        named = None if weights is None else tuple(weights[name] for name in label_names)
        return cls(named, training.label_smoothing)

    def total(self, labels: NDArray[np.int64]) -> float:
        """The sum of the weights of examples with these labels: what the mean over them divides by."""
        if self.class_weights is None:
            return len(labels)
        return float(np.asarray(self.class_weights)[labels].sum())

    def losses(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each example what is made small, and what is reported; both with the weight of its class.

        Args:
            logits: float32, shape (examples, classes).
            labels: int64, shape (examples,).
            weights: `class_weights` on the device that computes.
        """
        function = torch.nn.functional.cross_entropy
        losses = function(logits, labels, weights, reduction="none", label_smoothing=self.label_smoothing)
        if not self.label_smoothing:
            return losses, losses.detach()
        return losses, function(logits.detach(), labels, weights, reduction="none")

    def mean_loss(self, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        """The loss that is reported, over a whole split, in nats."""
        return cross_entropy(logits, labels, self.class_weights)

    def accuracy(self, predictions: NDArray[np.int64], labels: NDArray[np.int64]) -> float | None:
        """The share of examples that are predicted right, with the weights of their classes; None without weights."""
        if self.class_weights is None:
            return None
        weights = np.asarray(self.class_weights)[labels]
        return float(weights[predictions == labels].sum() / weights.sum())


def balanced(counts: NDArray[np.int64]) -> tuple[float, ...]:
    """Weights at which every class has the same say, as scikit-learn has them; 1 for a class without examples.

    Args:
        counts: training examples of each class.
    """
    even = counts.sum() / np.count_nonzero(counts)
    return tuple(float(even / count) if count else 1.0 for count in counts)


def cross_entropy(
    logits: NDArray[np.float32], labels: NDArray[np.int64], class_weights: Sequence[float] | None = None
) -> float:
    """Mean negative log-likelihood, in nats; with weights, the mean that they weigh."""
    from scipy.special import log_softmax

    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    if class_weights is None:
        return float(np.mean(losses))
    return float(np.average(losses, weights=np.asarray(class_weights)[labels]))
