"""Linear layers of one input as one product, LoRA's updates of them included. For CUDA devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from tuneoff.training.kernels.column_sums import vector_gradient
from tuneoff.training.kernels.dropout import Dropout, apply_mask


class Part(NamedTuple):
    """How one of the layers computes, beside its tensors.

    Attributes:
        width: of its result.
        factor: of LoRA's update.
        mask: what drops elements of the update's input: seed, salt, probability, and whether a kernel of ours does.
    """

    width: int
    factor: float
    mask: tuple[torch.Tensor, int, float, bool] | None


class _SharedLinear(torch.autograd.Function):
    """Linear layers of one input as one product in each direction.

    Joining the weights costs little beside it, so that it is done in each direction and nothing joined is kept. The
    outputs lie side by side in one array, and so may their gradients. What LoRA adds is added to them where they lie.
    Its layers' first products are one as well where nothing is dropped; else masks are drawn again on the way back.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, parts: Sequence[Part], apart: bool, *tensors: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        weights, biases, downs, ups = _by_kind(tensors)
        rows = x.reshape(-1, x.shape[-1])
        bias = None if biases[0] is None else _joined(biases)
        out = nn.functional.linear(rows, _joined(weights), bias)
        ctx.parts, ctx.shape = parts, x.shape
        results = out.split([part.width for part in parts], dim=1)
        inner = _first_products(rows, parts, downs)
        ctx.save_for_backward(rows if any(ctx.needs_input_grad[3:]) else None, *inner, *tensors)
        for part, result, product, up in zip(parts, results, inner, ups, strict=True):
            if up is not None:
                result.addmm_(product, up.t(), alpha=part.factor)
        return tuple(result.view(*x.shape[:-1], -1) for result in (results if apart else (out,)))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        parts, (rows, *saved) = ctx.parts, ctx.saved_tensors
        inner, tensors = saved[: len(parts)], saved[len(parts) :]
        weights, _, downs, ups = _by_kind(tensors)
        needed = list(zip(*[iter(ctx.needs_input_grad[3:])] * 4, strict=True))
        gradient = side_by_side([layer.reshape(-1, layer.shape[-1]) for layer in gradients])
        widths = [part.width for part in parts]
        d_results = gradient.split(widths, dim=1)
        d_x = gradient @ _joined(weights) if ctx.needs_input_grad[0] else None
        d_tensors: list[list[torch.Tensor | None]] = [[None] * 4 for _ in parts]
        if any(need[0] for need in needed):
            for found, d_weight in zip(d_tensors, (gradient.t() @ rows).split(widths), strict=True):
                found[0] = d_weight
        if any(need[1] for need in needed):
            for found, d_bias in zip(d_tensors, vector_gradient("sum", gradient)[1].split(widths), strict=True):
                found[1] = d_bias
        for part, found, d_result, product, down, up in zip(
            parts, d_tensors, d_results, inner, downs, ups, strict=True
        ):
            if up is None:
                continue
            d_inner = d_result @ up * part.factor
            masked = rows if part.mask is None else apply_mask(rows, *part.mask)
            found[2], found[3] = d_inner.t() @ masked, d_result.t() @ product * part.factor
            if d_x is not None and part.mask is None:
                d_x.addmm_(d_inner, down)
            elif d_x is not None:
                d_x += apply_mask(d_inner @ down, *part.mask)
        d_x = None if d_x is None else d_x.view(ctx.shape)
        return d_x, None, None, *(tensor for found in d_tensors for tensor in found)


def _by_kind(tensors: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """Weights, biases, LoRA's A and B of all layers, from those of one layer after another."""
    return tensors[::4], tensors[1::4], tensors[2::4], tensors[3::4]


def _joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _first_products(
    rows: torch.Tensor, parts: Sequence[Part], downs: Sequence[torch.Tensor | None]
) -> list[torch.Tensor | None]:
    """What A makes of the input, shape (rows, rank), where there is one; in one product where nothing is dropped."""
    found: list[torch.Tensor | None] = [None] * len(parts)
    joined: list[tuple[int, torch.Tensor]] = []
    for index, (part, down) in enumerate(zip(parts, downs, strict=True)):
        if down is None:
            continue
        if part.mask is None:
            joined.append((index, down))
        else:
            found[index] = apply_mask(rows, *part.mask) @ down.t()
    if joined:
        product = rows @ _joined([down for _, down in joined]).t()
        for (index, _), result in zip(joined, product.split([len(down) for _, down in joined], dim=1), strict=True):
            found[index] = result
    return found


def side_by_side(arrays: list[torch.Tensor]) -> torch.Tensor:
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


def can_share(layers: Sequence[Any]) -> bool:
    """Whether `shared_linear` computes what these layers of one input would: linear ones and plain LoRA beside such.

    All have a bias or none has; all weights are trained or none is; and nobody looks at what goes in or comes out.
    """
    bases = [layer.base_layer if is_lora(layer) else layer for layer in layers]
    return (
        all(type(base) is nn.Linear for base in bases)
        and len({base.bias is None for base in bases}) == 1
        and len({base.weight.requires_grad for base in bases}) == 1
        and len({base.weight.dtype for base in bases}) == 1
        and not any(is_hooked(layer) for layer in (*layers, *bases))
        and all(type(dropout) in (nn.Identity, Dropout) for dropout in _dropouts(layers))
    )


def _dropouts(layers: Sequence[Any]) -> list[Any]:
    return [dropout for layer in layers if is_lora(layer) for dropout in layer.lora_dropout.values()]


def is_hooked(module: nn.Module) -> bool:
    """Whether somebody looks at what goes into a module or comes out of it."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def is_lora(module: Any) -> bool:
    """Plain LoRA beside a linear layer, in full precision or in 4 bits; not its variants."""
    from peft.tuners.lora import LoraLayer

    if not isinstance(module, LoraLayer) or type(module).__name__ not in ("Linear", "Linear4bit"):
        return False
    return len(module.lora_A) == 1 and not module.lora_variant and not any(module.lora_bias.values())


def shared_linear(x: torch.Tensor, layers: Sequence[Any], apart: bool = True) -> tuple[torch.Tensor, ...]:
    """What each of some layers that `can_share` makes of `x`.

    Args:
        x: shape (..., inputs).
        layers: what is read of them is read at each call.
        apart: whether the layers' results are handed out one by one, or as the one array in which they lie.

    Returns:
        Shapes (..., outputs), of each layer or of all together.
    """
    tensors = [tensor for layer in layers for tensor in _tensors_of(layer)]
    if any(tensor is not None and tensor.dtype != x.dtype for tensor in tensors):
        results = [layer(x) for layer in layers]  # a method may hold what it adds in float32; peft converts
        return tuple(results) if apart else (torch.cat(results, dim=-1),)
    parts = [_part_of(layer) for layer in layers]
    out: tuple[torch.Tensor, ...] = _SharedLinear.apply(x, parts, apart, *tensors)  # type: ignore[no-untyped-call]
    return out


def _tensors_of(layer: Any) -> list[torch.Tensor | None]:
    if not is_lora(layer):
        return [layer.weight, layer.bias, None, None]
    (name,) = layer.lora_A
    return [layer.base_layer.weight, layer.base_layer.bias, layer.lora_A[name].weight, layer.lora_B[name].weight]


def _part_of(layer: Any) -> Part:
    if not is_lora(layer):
        return Part(len(layer.weight), 0.0, None)
    (name,) = layer.lora_A
    dropout, mask = layer.lora_dropout[name], None
    if isinstance(dropout, Dropout) and dropout.training and dropout.p > 0:
        mask = dropout.seed, dropout.next_salt(), dropout.p, dropout.fused
    return Part(len(layer.base_layer.weight), layer.scaling[name], mask)
