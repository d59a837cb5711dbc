"""What every engine does: steps, losses, logits. How a batch lies in memory is the subclass's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.training.dropout import own_dropout
from tuneoff.training.optimiser import make_optimiser

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.data.tokens import Tokens
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec

Rows = NDArray[np.int64]
Step = tuple[Rows, float]
"""The rows of one optimiser step and its learning rate."""

EVALUATION_TOKENS = {"cpu": 2048, "cuda": 65536}


class Engine(ABC):
    """Trains and evaluates one adapted model.

    Args:
        model: the adapted model, on `device`, its weights in the precision to compute in.
        loaded: what `model` was made from; its `model` is the classifier inside any wrapper.
        training: the study's training settings.
        device: where it computes.
        micro_batch: sequences that are computed at once; a batch of more has its gradients accumulated.
    """

    name: str
    bucketed: bool
    """Whether batches should hold sequences of similar lengths."""

    def __init__(
        self, model: nn.Module, loaded: LoadedModel, training: TrainingSpec, device: torch.device, micro_batch: int
    ) -> None:
        self.model = model
        self.micro_batch = micro_batch
        self.classifier = loaded.model
        self.device = device
        self.optimiser = make_optimiser(model, training)
        self.dropout_seed = own_dropout(model, device)
        self._loss_sum = torch.zeros((), device=device)
        self._examples = 0

    def describe(self) -> dict[str, Any]:
        """How it works, for `result.json`: `batches`, `step`, and what else decides speed or results."""
        return {"batches": self.name, "micro_batch_size": self.micro_batch, "step": "eager"}

    def prepare(self, tokens: Tokens, batches: Sequence[Rows]) -> None:
        """Does what must not count as training time, given every batch of the run."""
        del tokens, batches

    def steps(self, tokens: Tokens, schedule: Sequence[Step]) -> Iterator[None]:
        """Carries out one optimiser step for each entry of `schedule`, yielding after each."""
        self.model.train()
        for rows, learning_rate in schedule:
            self._step(tokens, rows, learning_rate)
            self._examples += len(rows)
            yield

    def state(self) -> dict[str, Any]:
        """All that further steps depend on, for `restore`: tensors and plain values."""
        state = {
            "optimiser": self.optimiser.state(),
            "dropout_seed": self.dropout_seed,
            "loss_sum": self._loss_sum,
            "examples": self._examples,
            "random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["random_on_device"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned; after `prepare`."""
        self.optimiser.restore(state["optimiser"])
        self.dropout_seed.copy_(state["dropout_seed"])
        self._loss_sum.copy_(state["loss_sum"])
        self._examples = state["examples"]
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_on_device"], self.device)

    def mean_loss(self) -> float:
        """Mean training loss over the examples since the last call; waits for the device."""
        mean = float(self._loss_sum) / max(1, self._examples)
        self._loss_sum.zero_()
        self._examples = 0
        return mean

    @torch.no_grad()
    def logits(self, tokens: Tokens) -> NDArray[np.float32]:
        """Logits of every example in order, shape (examples, classes), without dropout or gradients."""
        self.model.eval()
        batches = self._evaluation_batches(tokens, EVALUATION_TOKENS[self.device.type])
        parts = [self._logits(tokens, rows) for rows in batches]
        logits = np.empty((len(tokens), parts[0].shape[1]), dtype=np.float32)
        for rows, part in zip(batches, parts, strict=True):
            logits[rows] = part.float().cpu().numpy()
        return logits

    def _step(self, tokens: Tokens, rows: Rows, learning_rate: float) -> None:
        for start in range(0, len(rows), self.micro_batch):
            self._accumulate(tokens, rows[start : start + self.micro_batch], len(rows))
        self.optimiser.learning_rate.fill_(learning_rate)
        self.optimiser.step()

    @abstractmethod
    def _accumulate(self, tokens: Tokens, rows: Rows, batch_size: int) -> None:
        """Adds the gradients of the given rows' share of a batch, and the sum of their losses to `_loss_sum`."""

    @abstractmethod
    def _logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        """Logits of the given rows, shape (rows, classes)."""

    @abstractmethod
    def _evaluation_batches(self, tokens: Tokens, budget: int) -> list[Rows]:
        """All rows in batches of at most `budget` token slots."""
