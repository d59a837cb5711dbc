"""Which layers of a model are replaced by fused ones on CUDA, found by their structure.

transformers' modules stay as they are, names and weights too; only their `forward` is another one that computes
the same in fewer passes over memory (kernels in `fused_cuda`). Modules of an unknown structure are left alone.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from tuneoff.training.dropout import Dropout


def fuse(model: nn.Module) -> int:
    """Gives fused forwards to the modules of `model` that have them. Call it after `own_dropout`.

    Returns:
        How many modules were changed.
    """
    from tuneoff.training.fused_cuda import bias_gelu, linear, residual_norm

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

    def linear_forward(module: Any) -> Any:
        return lambda input: linear(input, module.weight, module.bias)

    changed: set[nn.Module] = set()
    for module in model.modules():
        if _is_residual_norm(module):
            module.forward = residual_forward(module)
        elif _is_bias_gelu(module):
            module.forward = gelu_forward(module)
        else:
            continue
        changed |= {module, module.dense}  # type: ignore[arg-type]
    for module in model.modules():
        if module not in changed and _is_trained_linear(module):
            module.forward = linear_forward(module)
            changed.add(module)
    return len(changed)


def _without_bias(dense: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A layer's product and the bias that is still to be added; for wrapped or 4-bit layers that is None."""
    if type(dense) is nn.Linear:
        return nn.functional.linear(x, dense.weight), dense.bias
    return dense(x), None


def _is_residual_norm(module: nn.Module) -> bool:
    """BERT's `SelfOutput` and `Output`: a linear layer, dropout, the residual stream, layer normalisation."""
    parts = dict(module.named_children())
    return (
        parts.keys() == {"dense", "LayerNorm", "dropout"}
        and list(inspect.signature(module.forward).parameters) == ["hidden_states", "input_tensor"]
        and type(parts["LayerNorm"]) is nn.LayerNorm
        and isinstance(parts["dropout"], Dropout)
        and parts["LayerNorm"].normalized_shape[-1] % 4 == 0
    )


def _is_bias_gelu(module: nn.Module) -> bool:
    """BERT's `Intermediate` with a trained bias: a linear layer and the exact GELU."""
    from transformers.activations import GELUActivation

    parts = dict(module.named_children())
    return (
        parts.keys() == {"dense", "intermediate_act_fn"}
        and type(parts["intermediate_act_fn"]) is GELUActivation
        and parts["intermediate_act_fn"].act is nn.functional.gelu
        and _is_trained_linear(parts["dense"])
    )


def _is_trained_linear(module: nn.Module) -> bool:
    return type(module) is nn.Linear and module.bias is not None and bool(module.bias.requires_grad)
