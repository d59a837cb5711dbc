"""An outline of a model whose backbone is stored in fewer bits: what its layers would take, without any library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class _Product(torch.autograd.Function):
    """A product with a frozen weight that is unpacked for it, at most; nothing is kept but the weight."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, bits: int) -> torch.Tensor:
        ctx.weight = weight
        if bits == 4:
            return nn.functional.linear(x, torch.empty_like(weight), bias)
        # The input in half precision, then in 8 bits; the result in 32 bits, then in half precision.
        narrow = torch.empty_like(x.to(torch.float16), dtype=torch.int8)
        out = torch.empty(*x.shape[:-1], weight.shape[0], device=x.device, dtype=torch.int32)
        half = out.to(torch.float16)
        del narrow, out
        return half.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return gradients[0] @ torch.empty_like(ctx.weight), None, None, None


class QuantisedLinear(nn.Linear):
    """Stands for a layer of bitsandbytes: on the meta device, with the shapes of the layer in full precision."""

    bits: int

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = _Product.apply(input, self.weight, self.bias, self.bits)  # type: ignore[no-untyped-call]
        return out


def outline_as_quantised(loaded: LoadedModel, bits: int) -> None:
    """Makes the linear layers of an outline's backbone stand for quantised ones; those of its head stay.

    Args:
        loaded: on the meta device, not yet adapted; it is changed.
        bits: 4 or 8.
    """
    head = tuple(f"{name}." for name in loaded.head_modules)
    for name, module in loaded.model.named_modules():
        if type(module) is nn.Linear and not f"{name}.".startswith(head):
            module.__class__ = QuantisedLinear
            setattr(module, "bits", bits)  # noqa: B010
            module.requires_grad_(False)


def quantised_weights(model: nn.Module) -> list[torch.Tensor]:
    """The weights that `outline_as_quantised` has left in full precision, of the same model, perhaps adapted."""
    return [module.weight for module in model.modules() if isinstance(module, QuantisedLinear)]
