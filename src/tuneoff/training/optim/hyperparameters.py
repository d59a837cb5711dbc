"""What AdamW is the same for on every device: its constants, and which weights decay."""

from __future__ import annotations

import torch
from torch import nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8
SCALES = {"ia3_l"}
"""Where peft keeps vectors that scale activations; they stand as matrices with one column or row."""


def rate_factor(parameter: torch.Tensor) -> float:
    """How many times the run's learning rate a parameter is trained at: its attribute `rate_factor`, or once."""
    return float(getattr(parameter, "rate_factor", 1.0))


def decayed_parameters(model: nn.Module) -> set[str]:
    """The names of the trained parameters that weight decay applies to: matrices, by what they are and not their size.

    Biases, the parameters of normalisation and IA3's scales are none, and neither is what has one dimension. A LoRA
    matrix of rank 1, a table of one embedding and a head of one output are matrices like any other.

    To be asked before weights are sharded: a shard may have no rows at all.

    Source: Loshchilov and Hutter 2019 (AdamW); the same parameters as transformers' `Trainer`, IA3's scales apart.
    """
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.ndim > 1 and _is_weight(model, name)
    }


def _is_weight(model: nn.Module, name: str) -> bool:
    *path, last = name.split(".")
    owner = model.get_submodule(".".join(path))
    return last != "bias" and "norm" not in type(owner).__name__.lower() and not SCALES.intersection(path)
