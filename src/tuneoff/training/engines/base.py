"""What every engine does: steps, losses, logits. How a batch lies in memory is the subclass's."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.training.kernels.dropout import RANK_STRIDE, own_dropout
from tuneoff.training.parallel.devices import Alone

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.data.tokens import Tokens
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec

Rows = NDArray[np.int64]
Step = tuple[Rows, float]
"""The rows of one optimiser step and its learning rate."""

Description = dict[str, bool | int | str | list[int]]
"""How an engine works, for `result.json`."""
Saved = dict[str, Any]
"""As `torch.save` takes it and `torch.load` gives it."""

EVALUATION_TOKENS = {"cpu": 2048, "cuda": 65536}


class Engine(ABC):
    """Trains and evaluates one adapted model. Each process of a run on several devices has an engine; all do the same.

    Args:
        model: the adapted model, laid out by `parallel`.
        loaded: what `model` was made from; its `model` is the classifier inside any wrapper.
        training: the study's training settings.
        device: where it computes.
        micro_batch: sequences that are computed at once; a batch of more has its gradients accumulated.
        parallel: how the run uses its devices; one process with one device when None.
    """

    name: str
    bucketed: bool
    """Whether batches should hold sequences of similar lengths."""

    def __init__(
        self,
        model: nn.Module,
        loaded: LoadedModel,
        training: TrainingSpec,
        device: torch.device,
        micro_batch: int,
        parallel: Alone | None = None,
    ) -> None:
        self.model = model
        self.micro_batch = micro_batch
        self.classifier = loaded.model
        self.device = device
        self.parallel = parallel or Alone()
        self.ranks = self.parallel.ranks
        self.optimiser = self.parallel.make_optimiser(model, training)
        self.dropout_seed = own_dropout(model, device)
        if not self.ranks.first:  # each process drops other elements
            self.dropout_seed += self.ranks.rank * RANK_STRIDE
            torch.manual_seed(torch.initial_seed() + self.ranks.rank)
        self._loss_sum = torch.zeros((), device=device)
        self._examples = 0

    def describe(self) -> Description:
        """How it works, for `result.json`: `batches`, `step`, and what else decides speed or results."""
        return {
            "batches": self.name,
            "micro_batch_size": self.micro_batch,
            "parallel": self.parallel.name,
            "step": "eager",
        }

    def prepare(self, tokens: Tokens, batches: Sequence[Rows]) -> None:
        """Does what must not count as training time, given every batch of the run."""
        if self.ranks.count > 1:
            self._warm_up(tokens, batches[0])

    def steps(self, tokens: Tokens, schedule: Sequence[Step]) -> Iterator[None]:
        """Carries out one optimiser step for each entry of `schedule`, yielding after each."""
        self.model.train()
        for rows, learning_rate in schedule:
            self._step(tokens, rows, learning_rate)
            self._examples += len(rows)
            yield

    def state(self) -> Saved:
        """All that further steps depend on, for `restore`: tensors, plain values. Whole in the first process only."""
        loss_sum = self._loss_sum.clone()
        self.ranks.sum(loss_sum)
        state = {
            "optimiser": self.parallel.optimiser_state(self.optimiser),
            "dropout_seed": self.dropout_seed,
            "loss_sum": loss_sum,
            "examples": self._examples,
            "random": self.ranks.gather(torch.get_rng_state()),
        }
        if self.device.type == "cuda":
            state["random_on_device"] = self.ranks.gather(torch.cuda.get_rng_state(self.device))
        return state

    def restore(self, state: Saved) -> None:
        """Goes on from what `state` returned in the first process; after `prepare`."""
        rank = self.ranks.rank
        self.parallel.restore_optimiser(self.optimiser, state["optimiser"])
        self.dropout_seed.copy_(state["dropout_seed"] + rank * RANK_STRIDE)
        self._loss_sum.copy_(state["loss_sum"] if self.ranks.first else torch.zeros(()))
        self._examples = state["examples"]
        if rank < len(state["random"]):  # it may have been written by fewer
            torch.set_rng_state(state["random"][rank])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(state["random_on_device"][rank], self.device)

    def mean_loss(self) -> float:
        """Mean training loss over the examples since the last call, in all processes; waits for the device."""
        self.ranks.sum(self._loss_sum)
        mean = float(self._loss_sum) / max(1, self._examples)
        self._loss_sum.zero_()
        self._examples = 0
        return mean

    @torch.no_grad()
    def logits(self, tokens: Tokens) -> NDArray[np.float32]:
        """Logits of every example in order, shape (examples, classes), without dropout or gradients.

        Every process computes a part of them and returns them all.
        """
        self.model.eval()
        batches = self._evaluation_batches(tokens, EVALUATION_TOKENS[self.device.type])
        own = batches[self.ranks.rank :: self.ranks.count]
        turns = -(-len(batches) // self.ranks.count)
        # Who has a batch less computes one for nothing, since sharded weights come together only where all take part.
        parts = [self._logits(tokens, rows) for rows in own + batches[: turns - len(own)]]
        logits = np.zeros((len(tokens), parts[0].shape[1]), dtype=np.float32)
        for rows, part in zip(own, parts, strict=False):
            logits[rows] = part.float().cpu().numpy()
        self.ranks.sum(torch.from_numpy(logits))
        return logits

    @torch.no_grad()
    def classify(self, tokens: Tokens, rows: Rows) -> NDArray[np.float32]:
        """Logits of some examples as one batch, shape (rows, classes), by this process alone; waits for the device."""
        if self.model.training:
            self.model.eval()
        logits: NDArray[np.float32] = self._logits(tokens, rows).float().cpu().numpy()
        return logits

    def _step(self, tokens: Tokens, rows: Rows, learning_rate: float) -> None:
        share = self.ranks.share(tokens, rows)
        largest_share = -(-len(rows) // self.ranks.count)
        for start in range(0, largest_share, self.micro_batch):
            part = share[start : start + self.micro_batch]
            if len(part):
                self._accumulate(tokens, part, len(rows))
            else:
                self._accumulate_nothing(tokens, rows[:1])
        self.parallel.join_gradients()
        self.optimiser.learning_rate.fill_(learning_rate)
        self.optimiser.step()

    def _warm_up(self, tokens: Tokens, rows: Rows) -> None:
        """A step without an update, in which the processes connect and kernels are loaded."""
        self.model.train()
        seed = self.dropout_seed.clone()
        self._accumulate_nothing(tokens, rows[: self.micro_batch])
        self.ranks.sum(torch.zeros((), device=self.device))
        self.model.zero_grad()
        self.dropout_seed.copy_(seed)

    def _accumulate_nothing(self, tokens: Tokens, rows: Rows) -> None:
        """Goes through the motions on any rows, with a weight of zero: all processes must take part in every pass."""
        loss_sum = self._loss_sum.clone()
        self._accumulate(tokens, rows, math.inf)
        self._loss_sum.copy_(loss_sum)

    @abstractmethod
    def _accumulate(self, tokens: Tokens, rows: Rows, batch_size: float) -> None:
        """Adds the gradients of the given rows' share of a batch, and the sum of their losses to `_loss_sum`."""

    @abstractmethod
    def _logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        """Logits of the given rows, shape (rows, classes)."""

    @abstractmethod
    def _evaluation_batches(self, tokens: Tokens, budget: int) -> list[Rows]:
        """All rows in batches of at most `budget` token slots."""
