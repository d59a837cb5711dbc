"""Linear layers of one input as one product, whose bias gradients are summed by our kernel. For CUDA devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tuneoff.training.kernels.column_sums import vector_gradient


class _SharedLinear(torch.autograd.Function):
    """Linear layers of one input as one product in each direction.

    Joining the weights costs little beside it. The outputs lie side by side in one array, and so may their gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *parameters: torch.Tensor) -> tuple[torch.Tensor, ...]:
        weight, bias = torch.cat(parameters[::2]), torch.cat(parameters[1::2])
        ctx.save_for_backward(x, weight)
        ctx.widths = [layer_weight.shape[0] for layer_weight in parameters[::2]]
        return torch.nn.functional.linear(x, weight, bias).split(ctx.widths, dim=-1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = _side_by_side([layer.reshape(-1, layer.shape[-1]) for layer in gradients])
        d_x = (gradient @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        d_weights = (gradient.t() @ x.reshape(-1, x.shape[-1])).split(ctx.widths)
        d_biases = vector_gradient("sum", gradient)[1].split(ctx.widths)
        return d_x, *(d for pair in zip(d_weights, d_biases, strict=True) for d in pair)


def _side_by_side(arrays: list[torch.Tensor]) -> torch.Tensor:
    """Arrays of as many rows side by side, shape (rows, sum of widths); without a copy where they already lie so."""
    rows, width = arrays[0].shape[0], sum(array.shape[1] for array in arrays)
    if are_side_by_side(arrays):
        return arrays[0].as_strided((rows, width), (width, 1))
    return torch.cat(arrays, dim=1)


def are_side_by_side(arrays: Sequence[torch.Tensor]) -> bool:
    """Whether arrays of shape (rows, width) are the columns of one contiguous array, in this order."""
    storage, width = arrays[0].untyped_storage().data_ptr(), sum(array.shape[1] for array in arrays)
    offset = arrays[0].storage_offset()
    for array in arrays:
        if (array.untyped_storage().data_ptr(), array.storage_offset(), array.stride()) != (
            storage,
            offset,
            (width, 1),
        ):
            return False
        offset += array.shape[1]
    return True


def shared_linear(x: torch.Tensor, layers: Sequence[torch.nn.Linear]) -> tuple[torch.Tensor, ...]:
    """What each of some linear layers with trained weights and biases makes of `x`."""
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    out: tuple[torch.Tensor, ...] = _SharedLinear.apply(x, *parameters)  # type: ignore[no-untyped-call]
    return out
