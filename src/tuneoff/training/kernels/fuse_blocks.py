"""Fused forwards for blocks that normalise what goes into their layers: decoders like Llama, and ModernBERT.

The residual addition at a block's end is made together with the normalisation at the next one's beginning, whose result
goes along with the sum as an attribute of it. Whoever reads the sum alone finds it as it would have been.
"""

from __future__ import annotations

import inspect
from collections.abc import Set
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from tuneoff.training.kernels import known_code
from tuneoff.training.kernels.dropout import Dropout
from tuneoff.training.kernels.gated import Activation, gated, gated_linear
from tuneoff.training.kernels.pre_norm import Normalisation, pre_norm, residual_pre_norm
from tuneoff.training.kernels.rotary import Heads, rotary
from tuneoff.training.kernels.shared_linear import can_share, is_hooked, shared_linear

CACHES = {"past_key_values", "cache"}
"""What versions of transformers call the keys and values of earlier tokens."""
LONGEST_ROW = 16_384
"""Elements of the widest row that a program holds."""


def fuse_blocks(model: nn.Module, kernels: Set[str]) -> set[nn.Module]:
    """Gives fused forwards to such blocks of `model` and to their parts; the modules that were changed.

    Args:
        model: adapted.
        kernels: which to use, by their names in `choice.KERNELS`.
    """
    changed: set[nn.Module] = set()
    for parent in list(model.modules()):
        for blocks in [child for child in parent.children() if isinstance(child, nn.ModuleList)]:
            changed |= _fuse_stack(blocks, _final_norm(parent), kernels)
    return changed


def _fuse_stack(blocks: nn.ModuleList, final: nn.Module | None, kernels: Set[str]) -> set[nn.Module]:
    all_names = [known_code.block_names(block) if _may_be_fused(block) else None for block in blocks]
    changed: set[nn.Module] = set()
    followers = [*(_first_norm(block, names) for block, names in zip(blocks, all_names, strict=True)), final]
    for block, names, follower in zip(blocks, all_names, followers[1:], strict=True):
        if names is None:
            continue
        parts: Any = block
        attention, mlp = getattr(parts, names.attention), getattr(parts, names.mlp)
        norms = [getattr(parts, names.first_norm), getattr(parts, names.second_norm), follower]
        if "pre_norm" in kernels:
            changed |= {norm for norm in norms if norm is not None and _fuse_norm(norm)}
            # One that is not fused would take no notice of what goes along with a sum, and compute it again.
            parts.forward = _block_forward(parts, names, follower if follower in changed else None)
            changed.add(block)
        if "rotary" in kernels and _may_be_fused(attention):
            changed |= _fuse_attention(attention, "shared_linear" in kernels)
        if "gated" in kernels and _may_be_fused(mlp):
            changed |= _fuse_mlp(mlp, "shared_linear" in kernels)
    return changed


def _may_be_fused(module: nn.Module) -> bool:
    """Nobody looks at what goes in or out, or has given it another forward than the one that leaves tokens out."""
    return not is_hooked(module) and ("forward" not in vars(module) or hasattr(module, "take_pooled"))


def _first_norm(block: Any, names: known_code.BlockNames | None) -> nn.Module | None:
    return None if names is None else getattr(block, names.first_norm)


def _final_norm(parent: nn.Module) -> nn.Module | None:
    children = dict(parent.named_children())
    return children.get("norm", children.get("final_norm"))


def _normalisation(norm: Any) -> Normalisation | None:
    """What a layer normalises by; None where it does not, or as nobody here knows."""
    if is_hooked(norm):
        return None
    if type(norm) is nn.LayerNorm and norm.weight is not None and len(norm.normalized_shape) == 1:
        found = Normalisation(norm.weight, norm.bias, norm.eps, centred=True)
    elif known_code.is_llama_norm(norm):
        found = Normalisation(norm.weight, None, norm.variance_epsilon, centred=False)
    elif known_code.is_gemma_norm(norm):
        found = Normalisation(norm.weight, None, norm.eps, centred=False, gain_offset=1.0)
    else:
        return None
    return found if len(norm.weight) <= LONGEST_ROW else None


def _fuse_norm(norm: Any) -> bool:
    if hasattr(norm, "normalisation"):
        return True
    by = _normalisation(norm)
    if by is None:
        return False
    plain = norm.forward

    def forward(hidden_states: torch.Tensor) -> torch.Tensor:
        for_whom, normalised = vars(hidden_states).pop("normalised", (None, None))
        if for_whom is norm:
            return cast("torch.Tensor", normalised)
        now = _current(norm, hidden_states)
        return cast("torch.Tensor", plain(hidden_states)) if now is None else pre_norm(hidden_states, now)

    norm.normalisation = by
    norm.forward = forward
    return True


def _current(norm: Any, like: torch.Tensor) -> Normalisation | None:
    """With the weights that a layer has now; None where the kernels do not know it or their number format."""
    by: Normalisation | None = getattr(norm, "normalisation", None)
    if by is None or norm.weight.dtype != like.dtype:
        return None
    return by._replace(gain=norm.weight, shift=getattr(norm, "bias", None))


def _add(hidden: torch.Tensor, residual: torch.Tensor, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What `norm` makes of their sum, and the sum."""
    by = None if hidden.dtype != residual.dtype else _current(norm, hidden)
    if by is not None:
        return residual_pre_norm(hidden, residual, by)
    total = residual + hidden
    return norm(total), total


def _block_forward(block: Any, names: known_code.BlockNames, follower: nn.Module | None) -> Any:
    first, second = getattr(block, names.first_norm), getattr(block, names.second_norm)
    attention, mlp = getattr(block, names.attention), getattr(block, names.mlp)

    def forward(hidden_states: torch.Tensor, **options: Any) -> torch.Tensor:
        attended = attention(first(hidden_states), **options)[0]
        take_pooled = getattr(block, "take_pooled", None)
        residual = hidden_states if take_pooled is None else take_pooled(hidden_states)
        normalised, total = _add(attended, residual, second)
        out = mlp(normalised)
        # A block that is computed again hands on its sum alone: of what goes along with it nothing would be saved.
        if follower is None or (block.training and block.gradient_checkpointing):
            return cast("torch.Tensor", total + out)
        normalised, total = _add(out, total, follower)
        vars(total)["normalised"] = follower, normalised
        return total

    return forward


def _fuse_attention(attention: Any, shared: bool) -> set[nn.Module]:
    size = attention.head_dim
    if size < 2 or size & (size - 1):
        return set()
    if known_code.is_modernbert_attention(attention):
        layers, out = [attention.Wqkv], attention.Wo
        count = attention.config.num_attention_heads
        heads = Heads(count, count, count, size)
        options: dict[str, Any] = {
            "scaling": size**-0.5,
            "sliding_window": attention.sliding_window,
            "deterministic": attention.deterministic_flash_attn,
        }
        finish = attention.out_drop
    elif (window := known_code.attention_window(attention)) is not None:
        layers, out = [attention.q_proj, attention.k_proj, attention.v_proj], attention.o_proj
        kv_count = attention.config.num_key_value_heads
        heads = Heads(attention.config.num_attention_heads, kv_count, kv_count, size)
        options = {"scaling": attention.scaling}
        if window != "none":
            options["sliding_window"] = getattr(
                attention if window == "own" else attention.config, "sliding_window", None
            )
        finish = nn.Identity()
    else:
        return set()
    norms = [attention.q_norm, attention.k_norm] if hasattr(attention, "q_norm") else []
    if any(is_hooked(norm) or not known_code.is_llama_norm(norm) for norm in norms):
        return set()
    attention.forward = _attention_forward(attention, layers, out, finish, norms, heads, options, shared)
    return {attention, *norms, *(layers if shared and can_share(layers) else [])}


def _attention_forward(
    attention: Any,
    layers: list[Any],
    out: nn.Module,
    finish: nn.Module,
    norms: list[Any],
    heads: Heads,
    options: dict[str, Any],
    shared: bool,
) -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    plain = attention.forward
    eager = inspect.unwrap(type(attention).forward).__globals__["eager_attention_forward"]
    joined = can_share(layers) and (shared or len(layers) == 1)

    def forward(
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        has_cache = any(more.get(name) is not None for name in CACHES)
        if has_cache or any(norm.weight.dtype != hidden_states.dtype for norm in norms):
            unfused: tuple[torch.Tensor, torch.Tensor | None] = plain(
                hidden_states, position_embeddings=position_embeddings, attention_mask=attention_mask, **more
            )
            return unfused
        shape = hidden_states.shape[:-1]
        # The rows are written over, so that they must be nobody else's.
        if joined:
            (rows,) = shared_linear(hidden_states, layers, apart=False)
        else:
            rows = torch.cat([layer(hidden_states) for layer in layers], dim=-1)
        cosines, sines = (table.expand(*shape, -1).reshape(-1, heads.size) for table in position_embeddings)
        gains = (norms[0].weight, norms[1].weight) if norms else None
        epsilon = norms[0].variance_epsilon if norms else 0.0
        turned = rotary(rows.flatten(0, -2), cosines, sines, heads, gains, epsilon)
        query, key, value = (part.unflatten(0, shape).transpose(1, 2) for part in turned)
        interface = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, eager)
        dropout = attention.attention_dropout if attention.training else 0.0
        found, weights = interface(attention, query, key, value, attention_mask, dropout=dropout, **options, **more)
        return finish(out(found.reshape(*shape, -1).contiguous())), weights

    return forward


def _fuse_mlp(mlp: Any, shared: bool) -> set[nn.Module]:
    if known_code.is_llama_mlp(mlp):
        layers, down, drop, activation = [mlp.gate_proj, mlp.up_proj], mlp.down_proj, None, _activation(mlp.act_fn)
    elif known_code.is_modernbert_mlp(mlp):
        layers, down, drop, activation = [mlp.Wi], mlp.Wo, mlp.drop, _activation(mlp.act)
    else:
        return set()
    if activation is None or not (drop is None or type(drop) is Dropout):
        return set()
    joined = len(layers) == 1 or (shared and can_share(layers))
    no_drop = drop is None or drop.p == 0.0
    keeps_less = no_drop and type(down) is nn.Linear and down.bias is None and not is_hooked(down)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not joined:
            gate, up = (layer(x) for layer in layers)
        elif len(layers) == 1:
            gate, up = layers[0](x).chunk(2, dim=-1)
        else:
            gate, up = shared_linear(x, layers)
        if keeps_less and down.weight.requires_grad and down.weight.dtype == gate.dtype:
            return gated_linear(gate, up, down.weight, activation)
        product = gated(gate, up, activation)
        return cast("torch.Tensor", down(product if no_drop or drop is None else drop(product)))

    mlp.forward = forward
    return {mlp, *(layers if joined else []), *([down] if keeps_less else [])}


def _activation(module: nn.Module) -> Activation | None:
    from transformers import activations

    if type(module) in (nn.SiLU, activations.SiLUActivation):
        return "silu"
    if type(module) is activations.GELUActivation and module.act is nn.functional.gelu:
        return "gelu"
    if type(module) is activations.GELUTanh and isinstance(module.act, partial):  # PyTorch's, not one by hand
        return "gelu_tanh"
    return None
