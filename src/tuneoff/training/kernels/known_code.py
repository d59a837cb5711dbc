"""Recognises modules of transformers that compute what Llama's, Gemma's or ModernBERT's compute, by their code.

transformers writes each architecture's modules out in a file of its own, mostly as copies. Names alone do not tell
copies from others: Granite's block has Llama's parts and scales what it adds; and another version may compute
something else. So the code itself is compared with what was read for this, and what differs in anything is left as it
is: slower, and right.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import textwrap
import tokenize
from collections.abc import Callable
from functools import cache
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


BLOCKS = (
    BlockNames("input_layernorm", "self_attn", "post_attention_layernorm", "mlp", "o_proj", "LlamaDecoderLayer"),
    BlockNames("attn_norm", "attn", "mlp_norm", "mlp", "Wo", "ModernBertEncoderLayer"),
)
KNOWN: dict[str, tuple[str, ...]] = {
    "LlamaDecoderLayer": ("9ab883af657f7c8f", "7d2df5ba7ca586ca"),
    "ModernBertEncoderLayer": ("20a05b1292ccb76e",),
    "LlamaRMSNorm": ("877c750b3b66d1b9",),
    "GemmaRMSNorm": ("869a9a6eb2b93803",),
    "GemmaRMSNorm._norm": ("2172588a0e76b9f6",),
    "LlamaMLP": ("9eb101c4fe0330b9",),
    "ModernBertMLP": ("102547a4f3c4f9dd",),
    "LlamaAttention": ("9841229bea595356", "a85d7ff517da492c"),
    "MistralAttention": ("f3672e172e4e921a", "b59161178538b42d"),
    "Qwen2Attention": ("71a9c4e5cee00950", "0b6ec93902d40a5d"),
    "Qwen3Attention": ("6091b53d90a0775d", "8c71d623fb8e1201"),
    "ModernBertAttention": ("6ae68f0094541d17",),
    "rotate_half": ("0175d472c9ad924a",),
    "apply_rotary_pos_emb": ("7f584885cc6a9b44", "650a7f0a467c4476"),
}
"""Digests of functions, `forward` where a class alone is named, of transformers 5.10.1, 5.17 and 5.24. The second ones
call the cache `cache`; of `apply_rotary_pos_emb`, ModernBERT's rotates in float32."""
Window = Literal["none", "configured", "own"]
"""Where an attention layer finds its window: it has none; its configuration's; its own `sliding_window`."""
ATTENTION_WINDOWS: dict[str, Window] = {"Llama": "none", "Mistral": "configured", "Qwen2": "own", "Qwen3": "own"}
"""By the architecture whose code it has."""


def block_names(block: nn.Module) -> BlockNames | None:
    """The names of a block's parts where its code is that of one of `BLOCKS`."""
    parts = {name for name, _ in block.named_children()}
    for names in BLOCKS:
        if parts == set(names[:4]):
            return names if _is_known(type(block).forward, names.source) else None
    return None


def is_llama_norm(norm: nn.Module) -> bool:
    """Normalisation by the root mean square: what it is multiplied by is `weight`, and `variance_epsilon` is added."""
    return hasattr(norm, "variance_epsilon") and _is_known(type(norm).forward, "LlamaRMSNorm")


def is_gemma_norm(norm: nn.Module) -> bool:
    """The same, multiplied by one more than `weight`; what is added is `eps`."""
    own: Any = type(norm)
    has_parts = hasattr(norm, "eps") and hasattr(own, "_norm")
    return has_parts and _is_known(own.forward, "GemmaRMSNorm") and _is_known(own._norm, "GemmaRMSNorm._norm")


def is_llama_mlp(mlp: nn.Module) -> bool:
    """`down_proj(act_fn(gate_proj(x)) * up_proj(x))`."""
    parts = {name for name, _ in mlp.named_children()}
    return parts == {"gate_proj", "up_proj", "down_proj", "act_fn"} and _is_known(type(mlp).forward, "LlamaMLP")


def is_modernbert_mlp(mlp: nn.Module) -> bool:
    """`Wo(drop(act(a) * b))`, where `a` and `b` are the halves of what `Wi` gives."""
    parts = {name for name, _ in mlp.named_children()}
    return parts == {"Wi", "act", "drop", "Wo"} and _is_known(type(mlp).forward, "ModernBertMLP")


def attention_window(attention: nn.Module) -> Window | None:
    """Where a decoder's attention finds its window; None where it is not built like those of `ATTENTION_WINDOWS`."""
    parts = {name for name, _ in attention.named_children()}
    projections = {"q_proj", "k_proj", "v_proj", "o_proj"}
    if parts not in (projections, projections | {"q_norm", "k_norm"}) or not _has_rotation(attention, 0):
        return None
    for name, window in ATTENTION_WINDOWS.items():
        if (name == "Qwen3") == ("q_norm" in parts) and _is_known(type(attention).forward, f"{name}Attention"):
            return window
    return None


def is_modernbert_attention(attention: nn.Module) -> bool:
    """One product for query, key and value, whose heads are turned by their positions."""
    return (
        hasattr(attention, "Wqkv")
        and _is_known(type(attention).forward, "ModernBertAttention")
        and _has_rotation(attention, 1)
    )


def _has_rotation(attention: nn.Module, which: int) -> bool:
    """Whether halves of a head are its pairs: the code of the functions that the layer's file has for that.

    Args:
        attention: the layer.
        which: of the known ways to apply it.
    """
    own = inspect.unwrap(type(attention).forward).__globals__
    rotate, apply = own.get("rotate_half"), own.get("apply_rotary_pos_emb")
    if rotate is None or apply is None:
        return False
    return _is_known(rotate, "rotate_half") and _digest(apply) == KNOWN["apply_rotary_pos_emb"][which]


def _is_known(function: Callable[..., Any], name: str) -> bool:
    return _digest(function) in KNOWN[name]


@cache
def _digest(function: Callable[..., Any]) -> str | None:
    """Of what a function does: its body without comments, layout and docstring; None where its source is not there."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError):
        return None
    (definition,) = ast.parse(source).body
    if not isinstance(definition, ast.FunctionDef):
        return None
    body = definition.body[1:] if ast.get_docstring(definition) is not None else definition.body
    lines = source.splitlines(keepends=True)[body[0].lineno - 1 : definition.end_lineno]
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(textwrap.dedent("".join(lines))).readline)
    words = " ".join(token.string for token in tokens if token.type not in layout)
    return hashlib.sha256(words.encode()).hexdigest()[:16]
