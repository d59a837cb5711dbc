"""What is measured of a run: memory, parameters, the course of its training."""

from __future__ import annotations

from tuneoff.records.record import Record

LossTrace = tuple[tuple[int, float | None], ...]
"""Steps done, and the mean training loss since the entry before; None where that is no finite number, as in JSON."""


class PeakBytes(Record):
    """Peak memory, allocated on a GPU or resident on a CPU; null where it is not known."""

    train: int | None
    """in training, evaluations between left out"""
    eval: int | None
    """in evaluation, on validation as well as on test"""
    reserved: int | None
    """held by the allocator in training"""


class MeasuredPeakBytes(PeakBytes):
    """Peak memory of a run that came to its end, where none is null."""

    train: int
    """in training, evaluations between left out"""
    eval: int
    """in evaluation, on validation as well as on test"""
    reserved: int
    """held by the allocator in training"""


class PeakParts(Record):
    """What the peak in training is made of, in bytes: `weights` to `process` add up to it, the rest lies beside it."""

    weights: int
    """of the model, trained or not, and its buffers, as they are stored"""
    optimiser: int
    """master weights and moments"""
    gradients: int | None
    """that the backward pass had finished by then; null on a CPU, where they are part of `temporary`"""
    activations: int | None
    """what the forward pass keeps for the backward pass, as far as it was still there; null likewise"""
    workspace: int | None
    """what stays from step to step beside these: workspaces of cuBLAS, tables of kernels, buffers of batches, and what
    the allocator rounds up; null likewise"""
    temporary: int
    """the rest: results in between; on a CPU all that came with the steps, also of libraries that load when needed"""
    process: int | None = None
    """on a CPU, what was resident before the first step beside weights and optimiser: Python and its libraries; null on
    a GPU"""
    graph_pools: int | None = None
    """of what the allocator reserves, the pools of CUDA graphs, in which a step's activations lie as well; null where
    there are none"""
    context: int | None = None
    """of CUDA with its kernels, outside of PyTorch's allocator; null on a CPU, and where the driver does not say"""

    @property
    def total(self) -> int:
        """What they add up to."""
        of_peak = (self.weights, self.optimiser, self.gradients, self.activations, self.workspace, self.temporary)
        return sum(part or 0 for part in (*of_peak, self.process))


class ParameterCounts(Record):
    """Parameters by what they belong to; logical counts, whatever 4-bit storage packs."""

    total: int
    """of the adapted model"""
    backbone: int
    """of the pretrained network"""
    adapter: int
    """what the method adds"""
    head: int
    """of the freshly initialised layers"""
    trainable: int
    """what is trained, the head included"""


class CurvePoint(Record):
    """A run after one epoch."""

    epoch: int
    """from 1"""
    step: int
    """optimiser steps done; 0 of a head that is fitted to features"""
    train_loss: float
    """mean over the epoch, in nats (of numbers in units of their variance); with `class_weights` weighted by class, and
    always without label smoothing"""
    validation_loss: float
    """mean, in nats; likewise"""
    validation_accuracy: float | None
    """from 0 to 1; of several labels an example, all of them right; null where labels are numbers"""
    validation_weighted_accuracy: float | None = None
    """likewise, examples counted by the weights of their classes; null without `class_weights`"""
    validation_score: float | None = None
    """the study's objective; null of runs of before, which went by accuracy"""
    largest_share: float
    """of the validation examples that are given the most frequent answer; 1 where predictions are constant"""
    train_seconds: float
    """optimiser steps so far"""

    @property
    def score(self) -> float:
        """The study's objective on validation."""
        score = self.validation_accuracy if self.validation_score is None else self.validation_score
        assert score is not None
        return score
