"""What AdamW is the same for on every device: its constants, and which weights decay."""

from __future__ import annotations

import math

import torch

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def rate_factor(parameter: torch.Tensor) -> float:
    """How many times the run's learning rate a parameter is trained at: its attribute `rate_factor`, or once."""
    return float(getattr(parameter, "rate_factor", 1.0))


def is_decayed(parameter: torch.Tensor) -> bool:
    """Whether weight decay applies: to matrices. IA3's vectors have a second dimension of one and stay vectors.

    A share of a weight has the weight's shape as `whole_shape`.
    """
    shape = getattr(parameter, "whole_shape", parameter.shape)
    return math.prod(shape) > max(shape, default=1)
