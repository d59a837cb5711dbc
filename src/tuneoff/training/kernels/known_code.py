"""Recognises modules of transformers that compute what Llama's, Gemma's or ModernBERT's compute, by their code.

transformers writes each architecture's modules out in a file of its own, mostly as copies. Names alone do not tell
copies from others: Granite's block has Llama's parts and scales what it adds. So the compiled code is compared with
that of the installed version's own, and what differs in anything is left as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, NamedTuple

from torch import nn


class BlockNames(NamedTuple):
    """Of the children of a block that adds what its attention and its feed-forward part give of normalised input."""

    first_norm: str
    attention: str
    second_norm: str
    mlp: str
    attention_output: str
    """Of the attention's child that leads back to the residual stream."""
    source: str
    """The block whose code it is."""


BLOCK_NAMES = {
    "llama": BlockNames(
        "input_layernorm", "self_attn", "post_attention_layernorm", "mlp", "o_proj", "LlamaDecoderLayer"
    ),
    "modernbert": BlockNames("attn_norm", "attn", "mlp_norm", "mlp", "Wo", "ModernBertEncoderLayer"),
}
"""By the architecture that such blocks are named after."""
Window = Literal["none", "configured", "own"]
"""Where an attention layer finds its window: it has none; its configuration's; its own `sliding_window`."""
ATTENTION_WINDOWS: dict[str, Window] = {"Llama": "none", "Mistral": "configured", "Qwen2": "own", "Qwen3": "own"}
"""By the architecture whose code it has."""


def block_names(block: nn.Module) -> BlockNames | None:
    """The names of a block's parts where its code is that of one of `BLOCK_NAMES`."""
    parts = {name for name, _ in block.named_children()}
    for family, names in BLOCK_NAMES.items():
        if parts == set(names[:4]):
            return names if _same_forward(block, family, names.source) else None
    return None


def is_llama_norm(norm: nn.Module) -> bool:
    """Normalisation by the root mean square: what it is multiplied by is `weight`, and `variance_epsilon` is added."""
    return hasattr(norm, "variance_epsilon") and _same_forward(norm, "llama", "LlamaRMSNorm")


def is_gemma_norm(norm: nn.Module) -> bool:
    """The same, multiplied by one more than `weight`; what is added is `eps`."""
    known = hasattr(norm, "eps") and hasattr(norm, "_norm")
    return known and all(_same_forward(norm, "gemma", "GemmaRMSNorm", method) for method in ("forward", "_norm"))


def is_llama_mlp(mlp: nn.Module) -> bool:
    """`down_proj(act_fn(gate_proj(x)) * up_proj(x))`."""
    parts = {name for name, _ in mlp.named_children()}
    return parts == {"gate_proj", "up_proj", "down_proj", "act_fn"} and _same_forward(mlp, "llama", "LlamaMLP")


def is_modernbert_mlp(mlp: nn.Module) -> bool:
    """`Wo(drop(act(a) * b))`, where `a` and `b` are the halves of what `Wi` gives."""
    parts = {name for name, _ in mlp.named_children()}
    return parts == {"Wi", "act", "drop", "Wo"} and _same_forward(mlp, "modernbert", "ModernBertMLP")


def attention_window(attention: nn.Module) -> Window | None:
    """Where a decoder's attention finds its window; None where it is not built like those of `ATTENTION_WINDOWS`."""
    parts = {name for name, _ in attention.named_children()}
    projections = {"q_proj", "k_proj", "v_proj", "o_proj"}
    if parts not in (projections, projections | {"q_norm", "k_norm"}) or not _has_llama_rotation(attention, "llama"):
        return None
    for name, window in ATTENTION_WINDOWS.items():
        if (name == "Qwen3") == ("q_norm" in parts) and _same_forward(attention, name.lower(), f"{name}Attention"):
            return window
    return None


def is_modernbert_attention(attention: nn.Module) -> bool:
    """One product for query, key and value, whose heads are turned by their positions."""
    return (
        hasattr(attention, "Wqkv")
        and _same_forward(attention, "modernbert", "ModernBertAttention")
        and _has_llama_rotation(attention, "modernbert")
    )


def _has_llama_rotation(attention: nn.Module, family: str) -> bool:
    """Whether halves of a head are its pairs: the code of the functions that the layer's file has for that."""
    own = inspect.unwrap(type(attention).forward).__globals__
    known = vars(_modeling(family))
    names = ("apply_rotary_pos_emb", "rotate_half")
    return all(name in own and name in known and _same_code(own[name], known[name]) for name in names)


def _same_forward(module: nn.Module, family: str, name: str, method: str = "forward") -> bool:
    own: Any = getattr(type(module), method)
    known: Any = getattr(getattr(_modeling(family), name, None), method, None)  # another version may call it otherwise
    return known is not None and _same_code(own, known)


def _same_code(function: Callable[..., Any], known: Callable[..., Any]) -> bool:
    codes = [getattr(inspect.unwrap(each), "__code__", None) for each in (function, known)]
    if None in codes:
        return False
    first, second = ((code.co_code, code.co_names, code.co_varnames, code.co_consts) for code in codes if code)
    return first == second


def _modeling(family: str) -> Any:
    return import_module(f"transformers.models.{family}.modeling_{family}")
