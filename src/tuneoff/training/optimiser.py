"""AdamW and its schedule: linear warm-up, then linear decay to zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tuneoff.spec import TrainingSpec


def adamw(model: nn.Module, training: TrainingSpec) -> torch.optim.AdamW:
    """Fused AdamW over the trainable parameters (betas 0.9 and 0.999, epsilon 1e-8).

    Vectors (biases, normalisation, IA3's scales) are not decayed. The learning rate is set at each step.
    """
    import torch

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, fused=True)


def learning_rates(peak: float, steps: int, warmup_ratio: float) -> list[float]:
    """The learning rate of each step: up linearly over the first share of steps, then down to zero after the last."""
    warmup = math.ceil(steps * warmup_ratio)
    return [
        peak * ((step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup))
        for step in range(steps)
    ]
