"""Memory of a GPU by what it is for: what `tuneoff plan --gpu-memory` foretells."""

from __future__ import annotations

from tuneoff.records.record import Record


class MemoryParts(Record):
    """What lies in memory at a run's peak, in bytes."""

    weights: int
    """of the model, trained or not, as they are stored"""
    optimiser: int
    """master weights and moments of those that are trained"""
    gradients: int
    """that the backward pass had finished by then"""
    activations: int
    """kept in the forward pass for the backward pass"""
    temporary: int
    """results in between, which the next operations do away with"""
    libraries: int
    """workspaces of cuBLAS, in PyTorch's allocator as well"""
    context: int
    """of CUDA and the kernels, outside of PyTorch's allocator"""

    @property
    def allocated(self) -> int:
        """What PyTorch's allocator hands out, which is what runs report as their peak."""
        return self.total - self.context

    @property
    def total(self) -> int:
        """All that a process takes of the device."""
        return sum(getattr(self, name) for name in type(self).model_fields)


class ForetoldMemory(Record):
    """The memory that an arm's training takes on a GPU, foretold."""

    arm: str
    """its name"""
    method: str
    """its method"""
    batch: str | None
    """the largest of the first seed in words: sequences, tokens, how they lie; null where nothing is foretold"""
    parts: MemoryParts | None
    """null where nothing is foretold"""
    fits: bool | None
    """into the memory that was named; null where nothing is foretold"""
    largest_batch_size: int | None
    """that fits; null where none does, or nothing is foretold"""
    advice: str | None
    """what to change where it does not fit, or why nothing is foretold"""


class MemoryOutline(Record):
    """What `tuneoff plan --gpu-memory --json` prints."""

    study: str
    """its name"""
    model: str
    """folder, or id on the Hub"""
    gpu_memory_bytes: int
    """that was named"""
    batch_size: int
    """sequences of an optimiser step"""
    gradient_checkpointing: bool
    """whether the study has it"""
    arms: tuple[ForetoldMemory, ...]
    """in the study's order"""
