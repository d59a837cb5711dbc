"""Which layers of a model are replaced by fused ones on CUDA, found by their structure.

transformers' modules stay as they are, names and weights too; only their `forward` is another one that computes
the same in fewer passes over memory. Modules of an unknown structure are left alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Set
from functools import partial
from typing import Any

import torch
from torch import nn

from tuneoff.training.kernels.dropout import Dropout


def fuse(model: nn.Module, kernels: Set[str]) -> int:
    """Gives fused forwards to the modules of `model` that have them. Call it after `own_dropout`.

    Args:
        model: adapted.
        kernels: which of them to use, by their names in `choice.KERNELS`.

    Returns:
        How many modules were changed.
    """
    from tuneoff.training.kernels.bias_gelu import bias_gelu
    from tuneoff.training.kernels.fuse_blocks import fuse_blocks
    from tuneoff.training.kernels.residual_norm import residual_norm
    from tuneoff.training.kernels.scale import scale
    from tuneoff.training.kernels.shared_linear import is_lora, shared_linear

    def residual_forward(module: Any) -> Any:
        def forward(hidden_states: torch.Tensor, input_tensor: torch.Tensor) -> torch.Tensor:
            hidden, bias = _without_bias(module.dense, hidden_states)
            norm, dropout = module.LayerNorm, module.dropout
            return residual_norm(hidden, bias, input_tensor, norm.weight, norm.bias, norm.eps, dropout)

        return forward

    def gelu_forward(module: Any) -> Any:
        def forward(hidden_states: torch.Tensor) -> torch.Tensor:
            hidden, bias = _without_bias(module.dense, hidden_states)
            assert bias is not None
            return bias_gelu(hidden, bias)

        return forward

    def ia3_forward(module: Any) -> Any:
        (factors,) = module.ia3_l.values()

        def forward(x: torch.Tensor) -> torch.Tensor:
            if module.is_feedforward:
                return module.base_layer(scale(x, factors.flatten()))
            return scale(module.base_layer(x), factors.flatten())

        return forward

    changed = fuse_blocks(model, kernels)
    modules: list[Any] = list(model.modules())
    for module in modules:
        if "shared_linear" in kernels and _is_trained_self_attention(module):
            changed |= _share_products(module.query, module.key, module.value)
        elif "shared_linear" in kernels and _is_trained_disentangled_attention(module):
            module.project = shared_linear
            changed |= {module.query_proj, module.key_proj, module.value_proj}
        elif "ia3" in kernels and _is_ia3(module):
            module.forward = ia3_forward(module)
            changed.add(module)
        elif "lora" in kernels and is_lora(module):
            module.forward = _lora_forward(module)
            changed.add(module)
        elif "residual_norm" in kernels and _is_residual_norm(module):
            module.forward = residual_forward(module)
            changed |= {module, module.dense}
        elif "bias_gelu" in kernels and _is_bias_gelu(module):
            module.forward = gelu_forward(module)
            changed |= {module, module.dense}
    return len(changed)


def _lora_forward(module: Any) -> Any:
    """The product with B adds to the frozen layer's output and scales by itself, without further passes."""
    (name,) = module.lora_A
    down, up, dropout, factor = (
        by_adapter[name] for by_adapter in (module.lora_A, module.lora_B, module.lora_dropout, module.scaling)
    )

    plain = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != down.weight.dtype:  # a method may hold what it adds in float32; peft converts between them
            converted: torch.Tensor = plain(x)
            return converted
        out = module.base_layer(x)
        inner = down(dropout(x)).flatten(0, -2)
        return torch.addmm(out.flatten(0, -2), inner, up.weight.t(), alpha=factor).view(out.shape)

    return forward


def _share_products(first: nn.Linear, *others: nn.Linear) -> set[nn.Module]:
    """Makes the first of several layers of one input compute for all; the others hand out what is theirs."""
    from tuneoff.training.kernels.shared_linear import shared_linear

    waiting: dict[nn.Linear, tuple[torch.Tensor, torch.Tensor]] = {}

    def compute(input: torch.Tensor) -> torch.Tensor:
        out, *rest = shared_linear(input, [first, *others])
        waiting.update((layer, (input, result)) for layer, result in zip(others, rest, strict=True))
        return out

    def hand_out(layer: nn.Linear, input: torch.Tensor) -> torch.Tensor:
        given, result = waiting.pop(layer)
        assert given is input
        return result

    first.forward = compute  # type: ignore[method-assign]
    for layer in others:
        layer.forward = partial(hand_out, layer)  # type: ignore[method-assign]
    return {first, *others}


def _without_bias(dense: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A layer's product and the bias that is still to be added; for wrapped or 4-bit layers that is None."""
    if type(dense) is nn.Linear:
        return nn.functional.linear(x, dense.weight), dense.bias
    return dense(x), None


def _is_trained_self_attention(module: nn.Module) -> bool:
    """BERT's `SelfAttention`: query, key and value of one input, in this order, of widths that wide loads divide."""
    children = list(module.named_children())[:3]
    layers: list[Any] = [layer for _, layer in children]
    return (
        [name for name, _ in children] == ["query", "key", "value"]
        and all(_is_trained_linear(layer) and len(layer.weight) % 16 == 0 for layer in layers)
        and "encoder_hidden_states" not in inspect.signature(module.forward).parameters
    )


def _is_trained_disentangled_attention(module: Any) -> bool:
    """DeBERTa-v2's self-attention as `pack_disentangled` left it, which projects through `project`."""
    layers = [getattr(module, f"{name}_proj", None) for name in ("query", "key", "value")]
    return hasattr(module, "project") and all(
        isinstance(layer, nn.Linear) and _is_trained_linear(layer) and len(layer.weight) % 16 == 0 for layer in layers
    )


def _is_ia3(module: Any) -> bool:
    from peft.tuners.ia3.layer import Linear

    return type(module) is Linear and len(module.ia3_l) == 1


def _is_residual_norm(module: nn.Module) -> bool:
    """BERT's `SelfOutput` and `Output`: a linear layer, dropout, the residual stream, layer normalisation."""
    children = dict(module.named_children())
    return (
        children.keys() == {"dense", "LayerNorm", "dropout"}
        and list(inspect.signature(module.forward).parameters) == ["hidden_states", "input_tensor"]
        and type(children["LayerNorm"]) is nn.LayerNorm
        and isinstance(children["dropout"], Dropout)
        and children["LayerNorm"].normalized_shape[-1] % 4 == 0
    )


def _is_bias_gelu(module: nn.Module) -> bool:
    """BERT's `Intermediate` with a trained bias: a linear layer and the exact GELU."""
    from transformers.activations import GELUActivation

    children = dict(module.named_children())
    return (
        children.keys() == {"dense", "intermediate_act_fn"}
        and type(children["intermediate_act_fn"]) is GELUActivation
        and children["intermediate_act_fn"].act is nn.functional.gelu
        and _is_trained_linear(children["dense"])
    )


def _is_trained_linear(module: nn.Module) -> bool:
    return type(module) is nn.Linear and module.bias is not None and bool(module.bias.requires_grad)
