"""What training makes small: one loss a kind of label, as transformers defines them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from tuneoff.tasks.base import Answers, Codes

Logits = NDArray[np.float32]


class Loss(ABC):
    """The loss of a run. Labels are codes, so that batches of every task are packed alike."""

    @property
    def class_weights(self) -> tuple[float, ...] | None:
        """One a class, each above 0; None where all count alike, or there are no classes."""
        return None

    @property
    def table(self) -> NDArray[np.float32] | None:
        """What `losses` looks up by code, for the device that computes."""
        return None

    def total(self, codes: Codes) -> float:
        """The sum of the weights of examples with these labels: what the mean over them divides by."""
        return len(codes)

    @abstractmethod
    def losses(
        self, logits: torch.Tensor, codes: torch.Tensor, table: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each example what is made small, and what is reported; both with the weight of its class.

        Args:
            logits: float32, shape (examples, outputs).
            codes: int64, shape (examples,).
            table: `table` on the device that computes.
        """

    @abstractmethod
    def mean_loss(self, logits: Logits, codes: Codes) -> float:
        """The loss that is reported, over a whole split."""

    @abstractmethod
    def guess(self, codes: Codes) -> float:
        """The loss of the best answer that is the same for all of these examples, which are those trained on."""

    def weighted_accuracy(self, answers: Answers, codes: Codes) -> float | None:
        """The share of examples that are predicted right, with the weights of their classes; None without weights."""
        return None


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Of one class an example: `torch.nn.functional.cross_entropy` with its weighted mean, in nats.

    Losses that are reported are without the smoothing, so that a model that is right and sure has a loss near zero.

    Attributes:
        weights: one a class, each above 0; None where all count alike.
        label_smoothing: share of each label that is given to all classes evenly.
    """

    weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    @property
    def class_weights(self) -> tuple[float, ...] | None:
        return self.weights

    @property
    def table(self) -> NDArray[np.float32] | None:
        return None if self.weights is None else np.asarray(self.weights, dtype=np.float32)

    def total(self, codes: Codes) -> float:
        return len(codes) if self.weights is None else float(np.asarray(self.weights)[codes].sum())

    def losses(
        self, logits: torch.Tensor, codes: torch.Tensor, table: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from torch.nn.functional import cross_entropy

        losses = cross_entropy(logits, codes, table, reduction="none", label_smoothing=self.label_smoothing)
        if not self.label_smoothing:
            return losses, losses.detach()
        return losses, cross_entropy(logits.detach(), codes, table, reduction="none")

    def mean_loss(self, logits: Logits, codes: Codes) -> float:
        from scipy.special import log_softmax

        losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(codes)), codes]
        weights = None if self.weights is None else np.asarray(self.weights)[codes]
        return float(np.average(losses, weights=weights))

    def guess(self, codes: Codes) -> float:
        """The entropy of the labels, with shares as weights make them."""
        counts = np.bincount(codes).astype(float)
        if self.weights is not None:
            counts *= np.asarray(self.weights)[: len(counts)]
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum()) + 0.0  # which makes -0 of a single class 0

    def weighted_accuracy(self, answers: Answers, codes: Codes) -> float | None:
        if self.weights is None:
            return None
        weights = np.asarray(self.weights)[codes]
        return float(weights[answers == codes].sum() / weights.sum())


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Of several labels an example: the mean over labels of each one's cross-entropy, in nats.

    Attributes:
        labels: what each code stands for, 0 or 1, shape (codes, labels).
    """

    labels: NDArray[np.float32]

    @property
    def table(self) -> NDArray[np.float32] | None:
        return self.labels

    def losses(
        self, logits: torch.Tensor, codes: torch.Tensor, table: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from torch.nn.functional import binary_cross_entropy_with_logits

        assert table is not None
        losses = binary_cross_entropy_with_logits(logits, table[codes], reduction="none").mean(1)
        return losses, losses.detach()

    def mean_loss(self, logits: Logits, codes: Codes) -> float:
        z = logits.astype(np.float64)
        return float((np.logaddexp(0, z) - z * self.labels[codes]).mean())

    def guess(self, codes: Codes) -> float:
        shares = self.labels[codes].mean(axis=0, dtype=np.float64)
        return float((_entropy(shares) + _entropy(1 - shares)).mean()) + 0.0


@dataclass(frozen=True)
class SquaredError(Loss):
    """Of a number: the squared error, in units of the variance of the numbers that are trained on.

    Attributes:
        numbers: what each code stands for, with a mean of 0 and a variance of 1 over training, shape (codes, 1).
    """

    numbers: NDArray[np.float32]

    @property
    def table(self) -> NDArray[np.float32] | None:
        return self.numbers

    def losses(
        self, logits: torch.Tensor, codes: torch.Tensor, table: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert table is not None
        losses = (logits - table[codes]).square().mean(1)
        return losses, losses.detach()

    def mean_loss(self, logits: Logits, codes: Codes) -> float:
        return float(np.square(logits.astype(np.float64) - self.numbers[codes]).mean())

    def guess(self, codes: Codes) -> float:
        return float(self.numbers[codes].var(dtype=np.float64))


def balanced(counts: NDArray[np.integer[Any]]) -> tuple[float, ...]:
    """Weights at which every class has the same say, as scikit-learn has them; 1 for a class without examples.

    Args:
        counts: training examples of each class.
    """
    even = counts.sum() / np.count_nonzero(counts)
    return tuple(float(even / count) if count else 1.0 for count in counts)


def by_class(weights: dict[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """Named weights in the order of classes."""
    return tuple(weights[name] for name in names)


def _entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0)
