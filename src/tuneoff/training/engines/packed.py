"""Packed batches: no padding, exactly `batch_size` sequences a step; on CUDA each step is one graph."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tuneoff.measure.memory import graph_pool_bytes
from tuneoff.models.architecture import Attention
from tuneoff.records.conditions import EngineDescription
from tuneoff.training.engines.base import Engine, Rows
from tuneoff.training.engines.disentangled import pack_disentangled
from tuneoff.training.engines.graph import GraphMemory, StepGraph, token_sizes
from tuneoff.training.engines.packing import (
    ATTENTION,
    TORCH_ATTENTION,
    VARLEN_KNOWS_WINDOWS,
    Layout,
    PackedBatch,
    WeightDropout,
    attending,
)
from tuneoff.training.engines.pooling import of_texts, pool
from tuneoff.training.kernels.choice import ATTENTION_HEAD_SIZES, chosen_kernels
from tuneoff.training.kernels.fuse import fuse
from tuneoff.training.order import by_length

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.data.tokens import Tokens
    from tuneoff.models.architecture import Architecture
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.tasks.losses import Loss
    from tuneoff.training.parallel.devices import SingleDevice

log = logging.getLogger(__name__)


def can_pack(architecture: Architecture, device: torch.device, precision: torch.dtype, training: TrainingSpec) -> bool:
    """Whether this architecture's sequences can be packed on this device, with its attention dropout if asked for."""
    if not architecture.packs:
        return False
    if device.type == "cpu":
        return not training.attention_dropout
    has_kernels = "attention" in chosen_kernels(training) and architecture.attention_head_size in ATTENTION_HEAD_SIZES
    if not VARLEN_KNOWS_WINDOWS and (training.compile or not has_kernels) and _has_windows(architecture):
        return False
    # PyTorch's attention among packed sequences drops no weights, and knows no positions of a model's own.
    needs_kernels = training.attention_dropout or architecture.attention is not Attention.INTERFACE
    return _has_variable_length_attention(device, precision) and (has_kernels or not needs_kernels)


def _has_windows(architecture: Architecture) -> bool:
    """Whether layers may look only so far."""
    return any(getattr(architecture.config, name, None) for name in ("sliding_window", "local_attention"))


def _has_variable_length_attention(device: torch.device, precision: torch.dtype) -> bool:
    if precision != torch.bfloat16:
        return False
    return device.type == "meta" or torch.cuda.get_device_capability(device) >= (8, 0)


class PackedEngine(Engine):
    """For architectures whose records say that texts can lie end to end."""

    name = "packed"
    bucketed = False
    own_randomness = True

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
        super().__init__(model, loaded, training, device, micro_batch, parallel, arm, loss)
        if loaded.architecture.attention is Attention.DISENTANGLED:
            pack_disentangled(loaded.model.base_model)
        else:
            loaded.model.set_attn_implementation(ATTENTION if "attention" in self.kernels else TORCH_ATTENTION)
        self._shard_size = -(-training.batch_size // self.ranks.world_size)
        self._weight_dropout = WeightDropout(self.dropout_seed, self.calls) if training.attention_dropout else None
        pool(loaded, only_pooled_in_last_block=not training.compile)  # a block unlike others is compiled by itself
        self._compiled = training.compile
        if training.compile:
            # One by one they share code, so that a model is compiled once, not 12 times.
            for block in loaded.architecture.blocks_of(loaded.model):
                block.compile(dynamic=True)
        self._fused = 0
        if device.type != "cpu" and not training.compile and not self.parallel.sharded:
            self._fused = fuse(model, self.kernels)
        self._graphs: list[StepGraph] = []
        self._token_slots: tuple[int, ...] = ()
        self._no_graph = "the device is not CUDA"

    def describe(self) -> EngineDescription:
        described: EngineDescription = {
            **super().describe(),
            "attention_dropout": self._weight_dropout is not None,
            "compiled": self._compiled,
            "fused_modules": self._fused,
        }
        if self._token_slots:
            return {**described, "step": "graph", "token_slots": self._token_slots}
        return {**described, "step": "eager", "why_no_graph": self._no_graph}

    def prepare(self, tokens: Tokens, batches: Sequence[Rows]) -> None:
        """Captures a graph of the whole step for a few sizes of batch; falls back to eager steps with a reason."""
        super().prepare(tokens, batches)
        if self.device.type != "cuda":
            return
        if self.parallel.sharded:
            self._no_graph = "weights are sharded over several devices"
            return
        if self.has_step_hook:
            self._no_graph = "the method takes part in each step"
            return
        if tokens.windows is not None:
            self._no_graph = "texts have several windows each"
            return
        if self.micro_batch < self._shard_size:
            self._no_graph = "gradients are accumulated over micro-batches"
            return
        self.model.train()
        try:
            with self._leaving_no_trace():
                self._graphs = self._captured(tokens, batches)
            self._token_slots = tuple(graph.layout.tokens for graph in self._graphs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # whatever an operation that cannot be captured raises
            self._no_graph = str(error).strip().splitlines()[0]
            log.warning("no CUDA graph: %s", self._no_graph)
            if self.marks is not None:
                self.marks.forget_sizes()  # steps on the default stream take workspaces of their own
            torch.cuda.synchronize(self.device)

    def finish(self) -> None:
        self._graphs.clear()  # those that hold messages must be gone before the processes' connection is

    def _captured(self, tokens: Tokens, batches: Sequence[Rows]) -> list[StepGraph]:
        # Of all processes' shards, so that all have graphs of the same sizes: a capture's steps are theirs together.
        shards = [shard for rows in batches for shard in self.ranks.shards(tokens, rows) if len(shard)]
        totals = np.array([int(tokens.lengths[shard].sum()) for shard in shards])
        longest = int(tokens.lengths.max())
        memory = GraphMemory(self.device, others=self.ranks.world_size > 1)
        graphs: list[StepGraph] = []
        for size in sorted(token_sizes(totals), reverse=True):
            spare = -(-int(size - totals[totals <= size].min()) // longest)
            layout = self._layout(size, self._shard_size, spare, longest)
            graphs.append(StepGraph(layout, tokens, self._whole_step, memory))
        if self.marks is not None:
            self.marks.graph_pools = graph_pool_bytes(memory.pool)
        return sorted(graphs, key=lambda graph: graph.layout.tokens)

    def _step(self, tokens: Tokens, rows: Rows, learning_rate: float) -> None:
        shard = self.ranks.shards(tokens, rows)[self.ranks.rank] if self._graphs else rows
        total = int(tokens.lengths[shard].sum())
        for graph in self._graphs:
            if graph.holds(total, len(shard)):
                graph.replay(tokens, shard, self.loss.total(tokens.labels[rows]), learning_rate)
                return
        super()._step(tokens, rows, learning_rate)

    def _accumulate(self, tokens: Tokens, rows: Rows, total_weight: float) -> None:
        self._backward(self._batch(tokens, rows, total_weight))

    def empty_step(self, tokens: int, sequences: int, longest: int) -> None:
        layout = self._layout(tokens, sequences, 0, longest)
        buffer = torch.empty(layout.size, dtype=torch.int32, device=self.device)
        self._whole_step(layout.views(buffer, lengths=None))

    def _whole_step(self, batch: PackedBatch) -> None:
        with nullcontext() if self.marks is None else self.marks.of_step(batch.ids.numel(), 0):
            with self.parallel.last_pass():
                self._backward(batch)
            self.parallel.reduce_gradients()
            self.optimiser.learning_rate.copy_(batch.learning_rate)
            self.optimiser.step()

    def _backward(self, batch: PackedBatch) -> None:
        self.dropout_seed += 1
        with attending(batch, self._weight_dropout):
            logits = of_texts(self._forward(batch).float(), batch.owners, len(batch.labels), batch.over_windows)
            losses, reported = self.loss.losses(logits, batch.labels.long(), self._loss_table)
            loss = torch.sum(losses * batch.weights)
            self._forward_ended()
            loss.backward()
        self._loss_sum += torch.sum(reported * (batch.weights > 0))

    def _logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        batch = self._batch(tokens, rows, len(rows))
        with attending(batch), torch.compiler.set_stance("force_eager"):
            logits: torch.Tensor = self._forward(batch)
        return of_texts(logits, batch.owners, len(batch.labels), batch.over_windows)

    def _forward(self, batch: PackedBatch) -> Any:
        options: dict[str, Any] = {"input_ids": batch.ids, "position_ids": batch.positions}
        if self.architecture.type_vocab_size > 0:
            options["token_type_ids"] = batch.types
        return self.model(**options).logits

    def _layout(self, tokens: int, sequences: int, spare: int, longest: int) -> Layout:
        return Layout(tokens, sequences, spare, longest, self.architecture)

    def _batch(self, tokens: Tokens, rows: Rows, total_weight: float) -> PackedBatch:
        lengths = tokens.by_sequence.lengths[tokens.sequences_of(rows)]
        layout = self._layout(int(lengths.sum()), len(lengths), 0, int(lengths.max()))
        if tokens.windows is not None:
            layout = replace(layout, texts=len(rows), over_windows=tokens.over_windows)
        buffer = np.empty(layout.size, dtype=np.int32)
        layout.fill(buffer, tokens, rows, total_weight, learning_rate=0.0)
        return layout.views(torch.from_numpy(buffer).to(self.device), tuple(lengths.tolist()))

    def _evaluation_batches(self, tokens: Tokens, budget: int) -> list[Rows]:
        return by_length(tokens.lengths, budget)
