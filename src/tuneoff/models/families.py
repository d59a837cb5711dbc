"""Where the attention and feed-forward layers are, architecture by architecture.

peft's own defaults lack several architectures and its `all-linear` fails on DistilBERT, so the names stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tuneoff.models.load import LoadedModel


@dataclass(frozen=True)
class Family:
    """Names of linear layers inside one transformer block, as suffixes of dotted module names."""

    query: str
    key: str
    value: str
    feedforward: tuple[str, ...]
    """In the order of computation; the last one leads back to the residual stream."""

    @property
    def query_value(self) -> tuple[str, ...]:
        """What LoRA's paper adapts (one name where query, key and value are one layer)."""
        return tuple(dict.fromkeys((self.query, self.value)))

    @property
    def key_value(self) -> tuple[str, ...]:
        """What IA3's paper rescales in the attention."""
        return tuple(dict.fromkeys((self.key, self.value)))


_BERT = Family("query", "key", "value", ("intermediate.dense", "layer.*.output.dense"))
_LLAMA = Family("q_proj", "k_proj", "v_proj", ("gate_proj", "up_proj", "down_proj"))
_GPT2 = Family("c_attn", "c_attn", "c_attn", ("mlp.c_fc", "mlp.c_proj"))

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie", "xlm-roberta-xl"), _BERT),
    "distilbert": Family("q_lin", "k_lin", "v_lin", ("ffn.lin1", "ffn.lin2")),
    "deberta-v2": Family("query_proj", "key_proj", "value_proj", ("intermediate.dense", "layer.*.output.dense")),
    "modernbert": Family("Wqkv", "Wqkv", "Wqkv", ("mlp.Wi", "mlp.Wo")),
    "mpnet": Family("attn.q", "attn.k", "attn.v", ("intermediate.dense", "layer.*.output.dense")),
    "albert": Family("query", "key", "value", ("ffn", "ffn_output")),
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3", "olmo2"), _LLAMA
    ),
    "gpt2": _GPT2,
    "opt": Family("q_proj", "k_proj", "v_proj", ("fc1", "fc2")),
    "gpt_neox": Family("query_key_value", "query_key_value", "query_key_value", ("dense_h_to_4h", "dense_4h_to_h")),
}


def family_of(model: PreTrainedModel) -> Family:
    """The layer names of this model's architecture.

    Raises:
        UserError: for an architecture without an entry; `target_modules` can then be given by hand.
    """
    kind = model.config.model_type
    if kind not in FAMILIES:
        raise UserError(
            f"the architecture '{kind}' has no default target_modules here; give target_modules for LoRA and QLoRA arms"
        )
    return FAMILIES[kind]


def linear_modules(loaded: LoadedModel, names: tuple[str, ...]) -> list[str]:
    """Full dotted names of the backbone's linear layers that end in one of `names`, in the model's order.

    `*` in a name stands for one dotted part. Layers of the head are left out: they are trained whole.

    Raises:
        UserError: where a name fits no layer.
    """
    layers = [
        name
        for name, module in loaded.model.named_modules()
        if _is_linear(module) and not any(name == head or name.startswith(head + ".") for head in loaded.head_modules)
    ]
    chosen: set[str] = set()
    for wanted in names:
        found = {name for name in layers if _ends_with(name, wanted)}
        if not found:
            endings = sorted({name.rsplit(".", 1)[-1] for name in layers})
            raise UserError(
                f"target_modules: '{wanted}' is no linear layer of this model; its layers end in {', '.join(endings)}"
            )
        chosen |= found
    return [name for name in layers if name in chosen]


def _is_linear(module: object) -> bool:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def _ends_with(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    tail = parts[-len(wanted) :]
    return len(tail) == len(wanted) and all(want in ("*", part) for want, part in zip(wanted, tail, strict=True))
