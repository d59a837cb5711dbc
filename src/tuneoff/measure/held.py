"""What of a process's memory is weights, and what the optimiser keeps, by the tensors that hold it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves


def held_bytes(model: nn.Module, optimiser_state: Any) -> tuple[int, int]:
    """Bytes of a model's weights and buffers as they are stored, and of what an optimiser keeps beside them.

    Args:
        model: on any device; of sharded weights this process's shards count.
        optimiser_state: tensors in dictionaries and lists, or None.
    """
    weights = storage_sizes([*model.parameters(), *model.buffers(), *_scales(model)])
    kept = storage_sizes(leaf for leaf in tree_leaves(optimiser_state) if isinstance(leaf, torch.Tensor))
    return sum(weights.values()), sum(size for storage, size in kept.items() if storage not in weights)


def storage_sizes(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Bytes by the storage that tensors look into, each once."""
    local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    return {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in local}


def _scales(model: nn.Module) -> list[torch.Tensor]:
    """What bitsandbytes keeps beside weights in 4 and 8 bits, which is no parameter."""
    found: list[Any] = []
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        inner = getattr(state, "state2", None)
        found += [getattr(state, "absmax", None), getattr(inner, "absmax", None), getattr(parameter, "SCB", None)]
    return [tensor for tensor in found if isinstance(tensor, torch.Tensor)]
