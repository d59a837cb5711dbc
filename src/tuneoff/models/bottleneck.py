"""Bottleneck adapters: small networks behind linear layers of a frozen model. peft has none, so they are ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

MARK = ".bottleneck."
"""Stands in the names of the tensors of all bottlenecks."""
FIRST_WEIGHT = MARK + "down.weight"


class Bottleneck(nn.Module):
    """Adds to states what a narrow layer makes of them; nothing until it is trained.

    Args:
        width: of the states.
        size: of the narrow layer.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        if not self.down.weight.is_meta:
            nn.init.normal_(self.down.weight, std=0.02)
            for silent in (self.down.bias, self.up.weight, self.up.bias):
                nn.init.zeros_(silent)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        inner = nn.functional.gelu(self.down(states))
        return states + self.up(inner)


class BottleneckLayer(nn.Module):
    """A linear layer of the model with a bottleneck behind it.

    Args:
        base_layer: stays as it is.
        bottleneck: reads what that gives.
    """

    def __init__(self, base_layer: Any, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck = bottleneck

    @property
    def weight(self) -> torch.Tensor:
        """The linear layer's, by whose type some models choose what they hand it."""
        weight: torch.Tensor = self.base_layer.weight
        return weight

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        adapted: torch.Tensor = self.bottleneck(self.base_layer(states))
        return adapted


def put_bottlenecks(model: nn.Module, layers: Iterable[str], size: int) -> None:
    """Puts bottlenecks behind layers of a model, on their devices.

    Args:
        model: is changed.
        layers: full dotted names of linear layers.
        size: of the bottlenecks.
    """
    for name in layers:
        layer: Any = model.get_submodule(name)
        width = layer.out_features if hasattr(layer, "out_features") else layer.weight.shape[1]  # of Conv1D
        bottleneck = Bottleneck(width, size).to(layer.weight.device)
        model.set_submodule(name, BottleneckLayer(layer, bottleneck))


def has_bottlenecks(model: nn.Module) -> bool:
    """Whether some layer of a model has one."""
    return any(isinstance(module, BottleneckLayer) for module in model.modules())
