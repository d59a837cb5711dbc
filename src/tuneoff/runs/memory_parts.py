"""What a run's peak of memory in training is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tuneoff.measure.environment import visible_gpus
from tuneoff.measure.gpus import own_gpu_bytes
from tuneoff.measure.held import held_bytes
from tuneoff.records.measurements import PeakParts

if TYPE_CHECKING:
    from tuneoff.measure.step_marks import StepMarks
    from tuneoff.runs.adapted import Trainer
    from tuneoff.runs.workplace import Workplace
    from tuneoff.training.engines.base import Engine

WITHIN = 0.02
"""Of the peak: what is further off was seen in a step that did not set it, and is not told."""


def process_bytes(place: Workplace, engine: Engine) -> int:
    """On a CPU, what is resident before the first step and is neither weights nor the optimiser's.

    Weights that are read from their file when they are first used may not be resident yet: what was there before there
    was a model counts in any case.
    """
    held = sum(held_bytes(engine.model, engine.optimiser.state()))
    return max(place.resident, place.peak.present_bytes() - held)


def memory_parts(place: Workplace, trainer: Trainer, peak: int) -> PeakParts | None:
    """The parts of this process's peak in training; None where they are not known.

    Args:
        place: of the process.
        trainer: that has trained, and whose engine has not given anything back yet.
        peak: in bytes.
    """
    if trainer.process is not None:
        parts = _resident(trainer.engine, trainer.process, peak)
    else:
        parts = None if trainer.engine.marks is None else _allocated(place, trainer.engine.marks)
    return parts if parts is not None and abs(parts.total - peak) <= WITHIN * peak else None


def _resident(engine: Engine, process: int, peak: int) -> PeakParts | None:
    """On a CPU what steps take cannot be told apart: freed memory stays resident, for the next to use."""
    weights, optimiser = held_bytes(engine.model, engine.optimiser.state())
    return PeakParts(
        weights=weights,
        optimiser=optimiser,
        gradients=None,
        activations=None,
        workspace=None,
        temporary=max(0, peak - weights - optimiser - process),
        process=process,
    )


def _allocated(place: Workplace, marks: StepMarks) -> PeakParts | None:
    marks.between_steps(place.peak.present_bytes())
    if marks.most is None:
        return None
    taken = own_gpu_bytes(visible_gpus()[place.device.index or 0])
    context = None if taken is None else max(0, taken - torch.cuda.memory_reserved(place.device))
    return marks.most.model_copy(update={"graph_pools": marks.graph_pools, "context": context})
