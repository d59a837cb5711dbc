"""What a run's peak of memory in training is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tuneoff.measure.environment import visible_gpus
from tuneoff.measure.gpus import own_gpu_bytes
from tuneoff.measure.held import held_bytes
from tuneoff.records.measurements import PeakParts

if TYPE_CHECKING:
    from tuneoff.runs.workplace import Workplace
    from tuneoff.training.engines.base import Engine

WITHIN = 0.02
"""Of the peak: what is further off was seen in a step that did not set it, and is not told."""


def memory_parts(place: Workplace, engine: Engine, peak: int) -> PeakParts | None:
    """The parts of this process's peak in training; None where they are not known.

    Args:
        place: of the process.
        engine: that has trained, and not given anything back yet.
        peak: in bytes.
    """
    if place.task.run.arm.fitted:
        return None
    parts = _resident(place, engine, peak) if engine.marks is None else _allocated(place, engine)
    return parts if parts is not None and abs(parts.total - peak) <= WITHIN * peak else None


def _resident(place: Workplace, engine: Engine, peak: int) -> PeakParts:
    """On a CPU what steps take cannot be told apart: freed memory stays resident, for the next to use."""
    weights, optimiser = held_bytes(engine.model, engine.optimiser.state())
    return PeakParts(
        weights=weights,
        optimiser=optimiser,
        gradients=None,
        activations=None,
        workspace=None,
        temporary=max(0, peak - weights - optimiser - place.resident),
        process=place.resident,
    )


def _allocated(place: Workplace, engine: Engine) -> PeakParts | None:
    assert engine.marks is not None
    engine.marks.between_steps(place.peak.present_bytes())
    if engine.marks.most is None:
        return None
    taken = own_gpu_bytes(visible_gpus()[place.device.index or 0])
    context = None if taken is None else max(0, taken - torch.cuda.memory_reserved(place.device))
    return engine.marks.most.model_copy(update={"graph_pools": engine.marks.graph_pools, "context": context})
