"""What lies in a device's memory when a run's steps need the most, by marks of the allocator between their stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tuneoff.measure.held import held_bytes, storage_sizes
from tuneoff.records.measurements import PeakParts

if TYPE_CHECKING:
    import torch
    from torch import nn


class Allocator(Protocol):
    """What an allocator says of itself."""

    def stage(self) -> tuple[int, int]:
        """Bytes that are handed out now, and the most since it was asked last."""


class StepMarks:
    """Marks the steps of a run that may set its peak, and keeps the parts of the one that needed the most.

    A mark is what the allocator has handed out, and the most since the mark before. There is one where a step begins,
    where each forward pass ends, where each gradient is finished, and where the step ends; none waits for the device.
    What tensors hold is known by counting them: weights, the optimiser's arrays, gradients. What is handed out beside
    them once a step is over stays: workspaces, tables. The more that is there as a forward pass ends is kept for the
    backward pass, which frees it: whatever is not there any more at a later mark is not counted at a peak after it.

    Args:
        allocator: of the device that the model is on.
        model: that is trained.
        optimiser_state: returns the tensors that the optimiser keeps.

    Attributes:
        most: the parts of the step that needed the most; None where none was marked.
        graph_pools: bytes that are reserved for CUDA graphs; None where there are none.
    """

    def __init__(self, allocator: Allocator, model: nn.Module, optimiser_state: Callable[[], Any]) -> None:
        self._allocator = allocator
        self._model = model
        self._optimiser_state = optimiser_state
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._marking = False
        self._gradients: dict[int, int] = {}
        self._largest: tuple[int, ...] = ()
        self._times = 0
        self.most: PeakParts | None = None
        self.graph_pools: int | None = None

    @contextmanager
    def of_step(self, *sizes: int) -> Iterator[None]:
        """Around a step, which is marked if none of these sizes was larger yet; of equal ones the first two.

        The second, since the first step of a size loads kernels and makes workspaces.
        """
        if not self._is_due(sizes):
            yield
            return
        weights, optimiser = held_bytes(self._model, self._optimiser_state())
        self._held = weights + optimiser
        self._count_gradients()
        self._allocator.stage()  # what was before does not count
        self._kept = self._peak = 0
        self._marking = True
        hooks = [parameter.register_post_accumulate_grad_hook(self._gradient_is_there) for parameter in self._trained]
        try:
            yield
        finally:
            self._marking = False
            for hook in hooks:
                hook.remove()
        now, peak = self._allocator.stage()
        self._note(peak)
        after = sum(held_bytes(self._model, self._optimiser_state()))
        if after != self._held:
            self.forget_sizes()  # the first step made the optimiser's arrays: the second one needs more
        self._count_gradients()
        self._keep_most(weights, optimiser, stays=now - after - sum(self._gradients.values()))

    def forward_ended(self) -> None:
        """A forward pass has ended, with all that it keeps for the backward pass."""
        if self._marking:
            self._count_gradients()
            now, peak = self._allocator.stage()
            self._kept = now - self._held - sum(self._gradients.values())
            self._note(peak)

    def forget_sizes(self) -> None:
        """The next step is marked, whatever its size."""
        self._largest = ()

    def between_steps(self, now: int) -> None:
        """Bytes that are handed out between two steps, which may be more than in any that was marked.

        Steps that are CUDA graphs ask the allocator for nothing, while an evaluation takes workspaces of its own.
        """
        weights, optimiser = held_bytes(self._model, self._optimiser_state())
        self._held, self._gradients, self._kept, self._peak = weights + optimiser, {}, 0, 0
        self._note(now)
        self._keep_most(weights, optimiser, stays=now - self._held)

    def _is_due(self, sizes: tuple[int, ...]) -> bool:
        if not self._largest or any(size > largest for size, largest in zip(sizes, self._largest, strict=True)):
            self._largest = tuple(map(max, sizes, self._largest)) if self._largest else sizes
            self._times = 0
        elif sizes != self._largest:
            return False
        self._times += 1
        return self._times <= 2

    def _gradient_is_there(self, parameter: torch.Tensor) -> None:
        now, peak = self._allocator.stage()
        self._note(peak)
        if parameter.grad is not None:
            self._gradients |= storage_sizes([parameter.grad])
        self._kept = min(self._kept, now - self._held - sum(self._gradients.values()))

    def _note(self, peak: int) -> None:
        """The most of a stage, in which no more was kept and no more gradients were finished than now."""
        if peak > self._peak:
            self._peak = peak
            self._at_peak = sum(self._gradients.values()), self._kept

    def _count_gradients(self) -> None:
        self._gradients = storage_sizes(parameter.grad for parameter in self._trained if parameter.grad is not None)

    def _keep_most(self, weights: int, optimiser: int, stays: int) -> None:
        gradients, kept = self._at_peak
        rest = self._peak - self._held - gradients
        if rest < 0 or (self.most is not None and self.most.total >= self._peak):
            return  # less than none where some of the tensors are not on this device
        workspace = min(max(0, stays), rest)
        activations = max(0, min(kept, rest) - workspace)
        self.most = PeakParts(
            weights=weights,
            optimiser=optimiser,
            gradients=gradients,
            activations=activations,
            workspace=workspace,
            temporary=rest - workspace - activations,
        )
