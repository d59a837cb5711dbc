"""What every engine does: steps, losses, logits. How a batch lies in memory is the subclass's."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.data.tokens import Tokens
from tuneoff.measure.memory import is_out_of_memory
from tuneoff.records.conditions import EngineDescription
from tuneoff.spec.arms import ArmSpec
from tuneoff.tasks.losses import CrossEntropy, Loss
from tuneoff.training.engines.random_state import random_state_kept
from tuneoff.training.kernels.choice import chosen_kernels
from tuneoff.training.kernels.dropout import RANK_STRIDE, Calls, own_dropout
from tuneoff.training.parallel.devices import SingleDevice

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.measure.step_marks import StepMarks
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]
Step = tuple[Rows, float]
"""The rows of one optimiser step and its learning rate."""

Saved = dict[str, Any]
"""As `torch.save` takes it and `torch.load` gives it."""

EVALUATION_TOKENS = {"cpu": 2048, "cuda": 65536, "meta": 65536}
"""Token slots of a batch in evaluation, unless that is more than memory holds."""


class Engine(ABC):
    """Trains and evaluates one adapted model. Each process of a run on several devices has an engine; all do the same.

    It is the adapted model that is called, so that a method may change what goes in and what comes out.

    Args:
        model: the adapted model, laid out by `parallel`.
        loaded: what `model` was made from; its `model` is the classifier inside any wrapper.
        training: the study's training settings.
        device: where it computes.
        micro_batch: sequences that are computed at once (a text is one, or several windows); a batch of more has its
            gradients accumulated.
        parallel: how the run uses its devices; one process with one device when None.
        arm: whose hooks take part in the steps; none when None.
        loss: what steps make small; plain cross-entropy when None.
    """

    name: str
    bucketed: bool
    """Whether batches should hold sequences of similar lengths."""
    own_randomness: bool
    """Whether the step's seed decides all that is random in a pass, so that PyTorch's state need not be kept."""

    def __init__(
        self,
        model: nn.Module,
        loaded: LoadedModel,
        training: TrainingSpec,
        device: torch.device,
        micro_batch: int,
        parallel: SingleDevice | None = None,
        arm: ArmSpec | None = None,
        loss: Loss | None = None,
    ) -> None:
        self.model = model
        self.loss = loss or CrossEntropy()
        self.arm = arm or ArmSpec(method="")
        self.architecture = loaded.architecture
        self.micro_batch = micro_batch
        self.device = device
        self.parallel = parallel or SingleDevice()
        self.ranks = self.parallel.ranks
        factors = self.arm.rate_factors(model)
        for name, parameter in model.named_parameters():
            if name in factors:
                setattr(parameter, "rate_factor", factors[name])  # noqa: B010
        self.optimiser = self.parallel.make_optimiser(model, training)
        self.kernels = chosen_kernels(training)
        self.calls = Calls() if loaded.architecture.shares_blocks else None
        self.dropout_seed = own_dropout(model, device, self.calls, fused="dropout" in self.kernels)
        if training.gradient_checkpointing:
            options: dict[str, Any] = {
                "use_reentrant": False,
                "preserve_rng_state": not self.own_randomness or self.arm.draws,
            }
            if self.calls is not None:
                options["context_fn"] = self.calls.checkpointed
            loaded.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
        if not self.ranks.first:  # each process drops other elements
            self.dropout_seed += self.ranks.rank * RANK_STRIDE
            torch.manual_seed(torch.initial_seed() + self.ranks.rank)
        table = self.loss.table
        self._loss_table = None if table is None else torch.tensor(table, dtype=torch.float32, device=device)
        self._loss_sum = torch.zeros((), device=device)
        self._weight = 0.0
        self._evaluation_tokens = EVALUATION_TOKENS[device.type]
        self._steps_done = 0
        self._steps = 0
        self.marks: StepMarks | None = None
        """Of the memory that steps take; None where it is not looked at."""
        self.has_step_hook = self.arm.takes_part_in_steps

    def describe(self) -> EngineDescription:
        """How it works, for `result.json`: `batches`, `step`, and what else decides speed or results."""
        return {
            "batches": self.name,
            "micro_batch_size": self.micro_batch,
            "parallel": self.parallel.name,
            "step": "eager",
        }

    def prepare(self, tokens: Tokens, batches: Sequence[Rows]) -> None:
        """Does what must not count as training time, given every batch of the run."""
        self._steps = len(batches)
        if self.ranks.world_size > 1:
            self._warm_up(tokens, batches[0])

    def steps(self, tokens: Tokens, schedule: Sequence[Step]) -> Iterator[None]:
        """Carries out one optimiser step for each entry of `schedule`, yielding after each."""
        self.model.train()
        for rows, learning_rate in schedule:
            self._step(tokens, rows, learning_rate)
            self._steps_done += 1
            self._weight += self.loss.total(tokens.labels[rows])
            yield

    def finish(self) -> None:  # noqa: B027  # most engines need nothing of the kind
        """No step follows: what only steps need is given back."""

    @abstractmethod
    def empty_step(self, tokens: int, sequences: int, longest: int) -> None:
        """A whole step on a batch without content: on the meta device, where it shows how much memory a step takes.

        Args:
            tokens: of the batch, all together.
            sequences: in it.
            longest: tokens of its longest sequence.
        """

    @torch.no_grad()
    def empty_evaluation(self, longest: int) -> None:
        """Evaluates one batch of texts of this length, as many as it holds: on the meta device, as `empty_step`."""
        count = max(1, self._evaluation_tokens // longest)
        ends = np.arange(count + 1, dtype=np.int64) * longest
        texts = Tokens(np.zeros(ends[-1], np.int32), ends, np.zeros(count, np.int64))
        self._logits(texts, np.arange(count))

    def state(self) -> Saved:
        """All that further steps depend on, for `restore`: tensors, plain values. Whole in the first process only."""
        loss_sum = self._loss_sum.clone()
        self.ranks.all_reduce(loss_sum)
        state = {
            "optimiser": self.parallel.optimiser_state(self.optimiser),
            "dropout_seed": self.dropout_seed,
            "loss_sum": loss_sum,
            "weight": self._weight,
            "steps": self._steps_done,
            "random": self.ranks.gather(torch.get_rng_state()),
        }
        if self.device.type == "cuda":
            state["random_on_device"] = self.ranks.gather(torch.cuda.get_rng_state(self.device))
        if self.has_step_hook:
            state["buffers"] = dict(self.model.named_buffers())
        return state

    def restore(self, state: Saved) -> None:
        """Goes on from what `state` returned in the first process; after `prepare`."""
        rank = self.ranks.rank
        self.parallel.restore_optimiser(self.optimiser, state["optimiser"])
        self.dropout_seed.copy_(state["dropout_seed"] + rank * RANK_STRIDE)
        self._loss_sum.copy_(state["loss_sum"] if self.ranks.first else torch.zeros(()))
        self._weight = state["weight"]
        self._steps_done = state["steps"]
        for name, value in state.get("buffers", {}).items():
            self.model.get_buffer(name).copy_(value)
        if rank < len(state["random"]):  # it may have been written by fewer
            torch.set_rng_state(state["random"][rank])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(state["random_on_device"][rank], self.device)

    def trained_weights(self) -> dict[str, torch.Tensor]:
        """What training changes of the model, by name, for `put_back`; of sharded weights this process's shards."""
        weights = {
            name: self.parallel.own_part(parameter)
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }
        return {**weights, **dict(self.model.named_buffers())} if self.has_step_hook else weights

    @torch.no_grad()
    def put_back(self, weights: dict[str, torch.Tensor]) -> None:
        """Gives the model back what `trained_weights` returned; no step may follow."""
        for name, value in self.trained_weights().items():
            value.copy_(weights[name])
        self.arm.weights_put_back(self.model)

    def mean_loss(self) -> float:
        """Mean training loss over the examples since the last call, in all processes; waits for the device.

        As the loss weighs them, and without its smoothing.
        """
        self.ranks.all_reduce(self._loss_sum)
        mean = float(self._loss_sum) / (self._weight or 1.0)
        self._loss_sum.zero_()
        self._weight = 0.0
        return mean

    @torch.no_grad()
    def logits(self, tokens: Tokens) -> NDArray[np.float32]:
        """Logits of every example in order, shape (examples, classes), without dropout or gradients.

        Every process computes a shard of them and returns them all. Where memory runs out, batches are halved, down to
        single sequences, and stay so for later evaluations: what was trained is not lost.
        """
        self.model.eval()
        while (logits := self._logits_in_batches(tokens, self._evaluation_tokens)) is None:
            self._evaluation_tokens //= 2
            log.warning("evaluation ran out of memory; batches now hold %d tokens", self._evaluation_tokens)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return logits

    def _logits_in_batches(self, tokens: Tokens, budget: int) -> NDArray[np.float32] | None:
        """None where memory does not hold batches of `budget` token slots in all processes, and smaller ones exist."""
        batches = self._evaluation_batches(tokens, budget)
        own = batches[self.ranks.rank :: self.ranks.world_size]
        turns = -(-len(batches) // self.ranks.world_size)
        # Who has a batch less computes one for nothing, since sharded weights come together only where all take part.
        turns_rows = own + batches[: turns - len(own)]
        found: list[torch.Tensor] = []
        exhausted = torch.zeros(())
        try:
            found += [self._logits(tokens, rows) for rows in turns_rows]
        except (RuntimeError, MemoryError) as error:
            # With sharded weights the others wait for this process inside the model, and cannot be told.
            if not is_out_of_memory(error) or self.parallel.sharded or max(map(len, batches)) == 1:
                raise
            exhausted += 1
        self.ranks.all_reduce(exhausted)
        if exhausted:
            return None
        logits = np.zeros((len(tokens), found[0].shape[1]), dtype=np.float32)
        for rows, batch_logits in zip(own, found, strict=False):
            logits[rows] = batch_logits.float().cpu().numpy()
        self.ranks.all_reduce(torch.from_numpy(logits))
        return logits

    @torch.no_grad()
    def classify(self, tokens: Tokens, rows: Rows) -> NDArray[np.float32]:
        """Logits of some examples as one batch, shape (rows, classes), by this process alone; waits for the device."""
        if self.model.training:
            self.model.eval()
        logits: NDArray[np.float32] = self._logits(tokens, rows).float().cpu().numpy()
        return logits

    def _step(self, tokens: Tokens, rows: Rows, learning_rate: float) -> None:
        micro_batches = [self._micro_batches(tokens, shard) for shard in self.ranks.shards(tokens, rows)]
        with self._marked(tokens, micro_batches[self.ranks.rank]):
            self._step_in_passes(tokens, rows, micro_batches, learning_rate)

    def _step_in_passes(
        self, tokens: Tokens, rows: Rows, micro_batches: list[list[Rows]], learning_rate: float
    ) -> None:
        own = micro_batches[self.ranks.rank]
        total_weight = self.loss.total(tokens.labels[rows])  # of all processes' shards
        passes = max(map(len, micro_batches))
        for turn in range(passes):
            with self.parallel.last_pass() if turn == passes - 1 else nullcontext():
                if turn < len(own):
                    self._accumulate(tokens, own[turn], total_weight)
                else:
                    self._accumulate_nothing(tokens, rows[:1])
        self.parallel.reduce_gradients()
        if (penalty := self.arm.penalty(self.model)) is not None:  # the same in all processes, so that it is not summed
            penalty.backward()
        self.optimiser.learning_rate.fill_(learning_rate)
        self._update()

    def _marked(self, tokens: Tokens, micro_batches: list[Rows]) -> AbstractContextManager[None]:
        """Around a step, of whose memory marks are taken if it may need the most, which goes by token slots."""
        if self.marks is None:
            return nullcontext()
        sequences = [tokens.by_sequence.lengths[tokens.sequences_of(rows)] for rows in micro_batches]
        slots = [int(len(one) * one.max() if self.bucketed else one.sum()) for one in sequences]
        return self.marks.of_step(max(slots, default=0), max(slots[1:], default=0))  # these find gradients there

    def _micro_batches(self, tokens: Tokens, rows: Rows) -> list[Rows]:
        """Texts of at most `micro_batch` sequences together, or one text of more; in their order."""
        found: list[Rows] = []
        start = sequences = 0
        for place, count in enumerate(tokens.sequences[rows].tolist()):
            if sequences and sequences + count > self.micro_batch:
                found.append(rows[start:place])
                start, sequences = place, 0
            sequences += count
        return [*found, rows[start:]] if len(rows) else []

    def _update(self) -> None:
        """The optimiser's step, and the method's part in it, which finds the gradients again that the former drops."""
        gradients = [(parameter, parameter.grad) for parameter in self.model.parameters()] if self.has_step_hook else []
        self.optimiser.step()
        if self.has_step_hook:
            for parameter, gradient in gradients:
                parameter.grad = gradient
            self.arm.after_step(self.model, self._steps_done + 1, self._steps)
            self.model.zero_grad()

    def _warm_up(self, tokens: Tokens, rows: Rows) -> None:
        """A step without an update, in which the processes connect and kernels are loaded."""
        self.model.train()
        with self._leaving_no_trace():
            self._accumulate_nothing(tokens, rows[: self.micro_batch])
            self.ranks.all_reduce(torch.zeros((), device=self.device))

    @contextmanager
    def _leaving_no_trace(self) -> Iterator[None]:
        """Inside, steps may be tried before the first, with a learning rate of zero.

        Gradients, the optimiser's state, losses and random states are then as before, also where a step fails half-way.
        """
        dropout_seed = self.dropout_seed.clone()
        try:
            with random_state_kept(self.device):
                yield
        finally:
            self.dropout_seed.copy_(dropout_seed)
            self.model.zero_grad(set_to_none=True)
            self.optimiser.reset()
            self._loss_sum.zero_()

    def _accumulate_nothing(self, tokens: Tokens, rows: Rows) -> None:
        """Goes through the motions on any rows, with a weight of zero: all processes must take part in every pass."""
        loss_sum = self._loss_sum.clone()
        self._accumulate(tokens, rows, math.inf)
        self._loss_sum.copy_(loss_sum)

    def _forward_ended(self) -> None:
        """To be called between the forward and the backward pass."""
        if self.marks is not None:
            self.marks.forward_ended()

    @abstractmethod
    def _accumulate(self, tokens: Tokens, rows: Rows, total_weight: float) -> None:
        """Adds the gradients of the given rows' share of a batch, and the sum of their losses to `_loss_sum`.

        Args:
            tokens: of the split.
            rows: of the batch, or some of them.
            total_weight: sum of the class weights of all rows of the batch (their number, where there are none).
        """

    @abstractmethod
    def _logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        """Logits of the given rows, shape (rows, classes)."""

    @abstractmethod
    def _evaluation_batches(self, tokens: Tokens, budget: int) -> list[Rows]:
        """All rows in batches of at most `budget` token slots."""
