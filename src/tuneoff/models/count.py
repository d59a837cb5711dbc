"""Counting parameters by what they belong to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


def parameter_counts(adapted: nn.Module, loaded: LoadedModel) -> dict[str, int]:
    """Counts of `total`, `backbone`, `adapter`, `head` and `trainable` parameters of an adapted model.

    4-bit weights count with their logical size, and the frozen copy of the head that peft keeps beside the
    trained one does not count. A method that puts a head of its own in the place of the loader's says so by an
    attribute `own_head` of the model. `trainable` is what is trained, the head included.
    """
    own = [(name, parameter) for name, parameter in adapted.named_parameters() if "original_module" not in name]
    total = logical_size(parameter for _, parameter in own)
    backbone = loaded.parameters - loaded.head_parameters
    own_head: Any = getattr(adapted, "own_head", None)
    head = loaded.head_parameters if own_head is None else logical_size(own_head.parameters())
    return {
        "total": total,
        "backbone": backbone,
        "adapter": total - backbone - head,
        "head": head,
        "trainable": logical_size(parameter for _, parameter in own if parameter.requires_grad),
    }


def logical_size(parameters: Iterable[nn.Parameter]) -> int:
    """Number of weights; a 4-bit tensor counts the weights it stands for, not its packed bytes."""
    size = 0
    for parameter in parameters:
        state = getattr(parameter, "quant_state", None)
        size += int(parameter.numel() if state is None else state.shape.numel())
    return size
