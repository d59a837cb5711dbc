"""The choice of engine, by architecture, method and device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tuneoff.spec.arms import ArmSpec
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.packed import PackedEngine, can_pack
from tuneoff.training.engines.padded import PaddedEngine
from tuneoff.training.parallel.devices import SingleDevice

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec
    from tuneoff.tasks.losses import Loss


def make_engine(
    model: nn.Module,
    loaded: LoadedModel,
    training: TrainingSpec,
    device: torch.device,
    precision: torch.dtype,
    micro_batch: int | None = None,
    parallel: SingleDevice | None = None,
    arm: ArmSpec | None = None,
    loss: Loss | None = None,
) -> Engine:
    """Makes the fastest engine that the architecture, the method and the device allow.

    Weights are held in `precision`, trained ones with a float32 master in the optimiser; 4-bit weights stay.

    Args:
        model: the adapted model.
        loaded: what it was made from.
        training: the study's training settings.
        device: where to compute; the model is moved there.
        precision: `torch.bfloat16` or `torch.float32`.
        micro_batch: sequences computed at once; the whole batch when None.
        parallel: how the run uses its devices; one process with one device when None.
        arm: whose `adapt` made the model; one without hooks when None.
        loss: what steps make small; plain cross-entropy when None.
    """
    parallel = parallel or SingleDevice(precision=precision)
    arm = arm or ArmSpec(method="")
    parallel.lay_out(model, loaded, device, arm.dtypes(model, precision))
    packed = can_pack(loaded.architecture, device, precision, training)
    return (PackedEngine if packed else PaddedEngine)(
        model, loaded, training, device, micro_batch or training.batch_size, parallel, arm, loss
    )
