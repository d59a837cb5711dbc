"""What training will take of a GPU's memory, found out on the meta device: by the engine itself, without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from tuneoff.core.errors import UserError
from tuneoff.measure.meta_memory import MetaMemory
from tuneoff.models.hide import bitsandbytes_hidden
from tuneoff.models.load import outline
from tuneoff.models.quantised_outline import outline_as_quantised, quantised_weights
from tuneoff.models.quiet import transformers_quiet
from tuneoff.records.memory import MemoryParts
from tuneoff.spec.quantization import QUANTIZATIONS
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.engines.packed import PackedEngine
from tuneoff.training.order import run_batches
from tuneoff.training.parallel.devices import SingleDevice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.tasks.losses import Loss
    from tuneoff.training.engines.base import Engine

WORKSPACE_BYTES = 84_000_000
"""What cuBLAS takes of PyTorch's allocator for the stream that a run computes on (measured: an H200, torch 2.11)."""
GRAPH_WORKSPACE_BYTES = 36_000_000
"""And for the one that graphs are captured on."""
CONTEXT_BYTES = 600_000_000
"""Of CUDA with PyTorch's and our kernels loaded, outside of the allocator; it differs between devices and drivers."""
MOST_SAID = 100
"""Characters of what a library says."""
PRECISION = torch.bfloat16
GPU = torch.device("meta")
"""Stands for one."""


@dataclass(frozen=True)
class BatchShape:
    """How much one optimiser step computes at once.

    Attributes:
        tokens: of all its sequences.
        sequences: in it.
        longest: tokens of the longest one.
    """

    tokens: int
    sequences: int
    longest: int

    def words(self, packed: bool) -> str:
        """For people."""
        if packed:
            return f"{self.sequences} sequences, {self.tokens:,} tokens packed"
        return f"{self.sequences} sequences padded to {self.longest} tokens"


class ArmForecast:
    """An arm's engine on the meta device, where the memory of a step of any shape can be looked up.

    Args:
        arm: of a study.
        config: of the model; its weights are not needed.
        training: the study's training settings.
        loss: what steps make small.

    Raises:
        UserError: where the arm does not fit the model, or is trained in a way whose memory is not foretold.
    """

    def __init__(self, arm: ArmSpec, config: Any, training: TrainingSpec, loss: Loss | None = None) -> None:
        if arm.fitted:
            raise UserError("it is fitted to features, and takes about what evaluation takes")
        self._memory = MetaMemory()
        self._found: dict[BatchShape, MemoryParts] = {}
        loaded = outline(config)
        kind = None if arm.quantization is None else QUANTIZATIONS.named(arm.quantization)
        if kind is not None:
            outline_as_quantised(loaded, kind.bits)
        with bitsandbytes_hidden():
            model = arm.adapt(loaded)
        self.virtual_tokens = arm.virtual_tokens
        with _told(), transformers_quiet(), self._memory, self._memory.making("optimiser"):
            parallel = SingleDevice(precision=PRECISION)
            self._engine: Engine = make_engine(
                model, loaded, training, GPU, PRECISION, parallel=parallel, arm=arm, loss=loss
            )
        held = [*self._engine.model.parameters(), *self._engine.model.buffers()]
        with self._memory.making("weights"):
            self._memory.count(held)
        for tensor in held:
            if tensor.is_meta:
                self._memory.settle(tensor, "weights")
        if kind is not None:
            for weight in quantised_weights(self._engine.model):
                self._memory.settle(weight, "weights", kind.stored_bytes(*weight.shape))
        for parameter in self._engine.model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._gradient_is_there)
        self._engine.model.register_forward_pre_hook(self._forward_begins)
        self._engine.model.register_forward_hook(self._forward_ends)
        self._engine.model.train()
        self.packed = isinstance(self._engine, PackedEngine)
        self.graphed = self.packed and not self._engine.has_step_hook

    def parts(self, shape: BatchShape) -> MemoryParts:
        """What lies in memory at the peak of a step on a batch of this shape, its virtual tokens not counted yet."""
        if shape in self._found:
            return self._found[shape]
        asked, more = shape, self.virtual_tokens
        shape = BatchShape(shape.tokens + more * shape.sequences, shape.sequences, shape.longest + more)
        self._step(shape)
        if self._memory.settle_all("optimiser", ("activations", "temporary")):  # of moments that a first step makes
            self._step(shape)
        most = self._memory.at_peak
        self._found[asked] = MemoryParts(
            weights=most.get("weights", 0),
            optimiser=most.get("optimiser", 0),
            gradients=most.get("gradients", 0),
            activations=most.get("activations", 0),
            temporary=most.get("temporary", 0),
            libraries=WORKSPACE_BYTES + (GRAPH_WORKSPACE_BYTES if self.graphed else 0),
            context=CONTEXT_BYTES,
        )
        return self._found[asked]

    def evaluation_bytes(self, longest: int) -> int:
        """What PyTorch's allocator hands out at most in evaluation, whose batches are filled up with texts so long."""
        longest += self.virtual_tokens
        self._engine.model.eval()
        self._memory.start_peak()
        with _told(), transformers_quiet(), self._memory, _AttentionOfAGpu(), self._memory.making("temporary"):
            self._engine.empty_evaluation(longest)
        self._engine.model.train()
        return sum(self._memory.at_peak.values()) + WORKSPACE_BYTES

    def _step(self, shape: BatchShape) -> None:
        self._memory.start_peak()
        with _told(), transformers_quiet(), self._memory, _AttentionOfAGpu(), self._memory.making("temporary"):
            self._engine.empty_step(shape.tokens, shape.sequences, shape.longest)

    def _forward_begins(self, *_hooked: Any) -> None:
        self._memory.purpose = "activations"

    def _forward_ends(self, _module: Any, _inputs: Any, output: Any) -> None:
        if output.logits.requires_grad:
            output.logits.register_hook(self._backward_begins)

    def _backward_begins(self, _gradient: torch.Tensor) -> None:
        self._memory.purpose = "temporary"

    def _gradient_is_there(self, parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            self._memory.settle(parameter.grad, "gradients")


def largest_batch(
    lengths: NDArray[np.int64], training: TrainingSpec, seed: int, steps: int, packed: bool
) -> BatchShape:
    """The shape of the batch of a run that takes the most memory.

    Args:
        lengths: tokens of each training text, shape (texts,).
        training: the study's training settings.
        seed: the run's.
        steps: of the run.
        packed: whether the sequences lie end to end; padded to the longest otherwise.
    """
    batches = [rows for epoch in run_batches(lengths, training, seed, steps, not packed) for rows in epoch]
    shapes = [BatchShape(int(lengths[rows].sum()), len(rows), int(lengths[rows].max())) for rows in batches]
    if packed:
        return BatchShape(max(s.tokens for s in shapes), max(s.sequences for s in shapes), int(lengths.max()))
    return max(shapes, key=lambda shape: shape.sequences * shape.longest)


@contextmanager
def _told() -> Iterator[None]:
    """A step that cannot be gone through without its numbers is told of in one line."""
    try:
        yield
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        said = shorten(str(error).strip().splitlines()[0], MOST_SAID, placeholder=" ...")
        raise UserError(f"its memory cannot be foretold: {said}") from error


class _AttentionOfAGpu(TorchFunctionMode):
    """PyTorch's attention as GPUs compute it, which keeps no scores: on the meta device it would take another way."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        return _fused_attention(*args, **kwargs)


def _fused_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (tensor.repeat_interleave(groups, dim=-3) for tensor in (key, value))
    mask = attn_mask
    if mask is not None:
        if mask.dtype == torch.bool:
            mask = torch.empty(mask.shape, dtype=query.dtype, device=query.device)
        mask = mask.expand(*query.shape[:-1], key.shape[-2])
    out: torch.Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, mask, query.requires_grad or key.requires_grad, dropout_p, is_causal, scale=scale
    )[0]
    return out
