"""Every architecture of docs/compatibility.md at one size: configurations for `every_architecture.py`.

What is not said is transformers' default for the architecture. Special tokens have the same numbers everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BEGIN, PAD, END, FIRST_WORD = 0, 1, 2, 5
"""Tokens: what a text begins with, what fills rows up, what a text ends with; and the first that is a word."""


@dataclass(frozen=True)
class Size:
    """How large a model is, and its longest text in tokens."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    longest: int


BASE = Size(width=768, layers=12, heads=12, inner=3072, vocabulary=30_000, longest=512)
TINY = Size(width=32, layers=2, heads=2, inner=48, vocabulary=60, longest=24)


def configurations(size: Size) -> dict[str, dict[str, Any]]:
    """By the names of docs/compatibility.md, which are a model type and perhaps a variant of it.

    First those whose texts can lie in one batch, then those of which Tuneoff computes texts of equal lengths together,
    which takes it longest.
    """
    width, layers, heads, inner = size.width, size.layers, size.heads, size.inner
    tokens = {"vocab_size": size.vocabulary, "pad_token_id": PAD, "eos_token_id": END, "bos_token_id": BEGIN}
    positions = {"max_position_embeddings": size.longest + PAD + 1}  # RoBERTa counts them from the pad token on
    common = {
        **tokens,
        **positions,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }
    grouped = {**common, "num_key_value_heads": max(1, heads // 3), "head_dim": width // heads}
    experts = {
        **grouped,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": inner // 6,
        "shared_expert_intermediate_size": inner // 6,
    }
    disentangled = {
        **common,
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    }
    side_by_side = {
        **tokens,
        **positions,
        "emb_dim": width,
        "n_layers": layers,
        "n_heads": heads,
        "pad_index": PAD,
    }
    two_sides = {
        **tokens,
        **positions,
        "d_model": width,
        "encoder_layers": layers // 2,
        "decoder_layers": layers // 2,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": inner,
        "decoder_ffn_dim": inner,
        "decoder_start_token_id": END,
        "forced_eos_token_id": END,
    }
    text_to_text = {
        **tokens,
        "d_model": width,
        "d_kv": width // heads,
        "d_ff": inner,
        "num_layers": layers // 2,
        "num_heads": heads,
        "decoder_start_token_id": PAD,
    }
    return {
        "bert": common,
        "electra": {**common, "embedding_size": width},
        "ernie": common,
        "megatron-bert": common,
        "rembert": common,
        "albert": common,
        "roberta": common,
        "xlm-roberta": common,
        "camembert": common,
        "xlm-roberta-xl": common,
        "data2vec-text": common,
        "roberta-prelayernorm": common,
        "roformer": {**common, "embedding_size": width},
        "big_bird": common,
        "longformer": common,
        "mpnet": common,
        "distilbert": {**tokens, **positions, "dim": width, "n_layers": layers, "n_heads": heads, "hidden_dim": inner},
        "deberta-v2": {**disentangled, "position_buckets": 256, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
        "deberta": disentangled,
        "modernbert": {**common, "classifier_pooling": "cls"},
        "modernbert mean": {**common, "classifier_pooling": "mean"},
        "eurobert": grouped,
        "xlm": side_by_side,
        "flaubert": side_by_side,
        "nomic_bert": common,
        "jina_embeddings_v3": common,
        "llama": grouped,
        "mistral": grouped,
        "qwen2": grouped,
        "qwen3": grouped,
        "gemma": grouped,
        "gemma2": grouped,
        "gemma3_text": grouped,
        "smollm3": grouped,
        "olmo2": grouped,
        "olmo": grouped,
        "olmo3": grouped,
        "stablelm": grouped,
        "ministral": grouped,
        "ministral3": grouped,
        "exaone4": grouped,
        "arcee": grouped,
        "nemotron": grouped,
        "qwen2_moe": experts,
        "qwen3_moe": experts,
        "mixtral": {**experts, "num_local_experts": 8, "intermediate_size": inner // 6},
        "glm": grouped,
        "glm4": grouped,
        "starcoder2": grouped,
        "biogpt": common,
        "mpt": {**tokens, "d_model": width, "n_heads": heads, "n_layers": layers, "max_seq_len": size.longest},
        "phi3": grouped,
        "phi": common,
        "gpt2": common,
        "openai-gpt": common,
        "gpt_bigcode": common,
        "gpt_neo": {
            **common,
            "num_layers": layers,
            "num_heads": heads,
            "attention_types": [[["global", "local"], layers // 2]],
        },
        "gptj": {
            **tokens,
            **positions,
            "n_embd": width,
            "n_layer": layers,
            "n_head": heads,
            "rotary_dim": width // heads // 2,
        },
        "gpt_neox": common,
        "bloom": {**tokens, "hidden_size": width, "n_layer": layers, "n_head": heads},
        "falcon": common,
        "opt": {**common, "ffn_dim": inner},
        "helium": grouped,
        "bart": two_sides,
        "mbart": two_sides,
        "mvp": two_sides,
        "plbart": two_sides,
        "t5": text_to_text,
        "mt5": text_to_text,
        "modernbert-decoder": common,
        "convbert": {**common, "embedding_size": width},
        "nystromformer": common,
        "mobilebert": {**tokens, **positions},  # its widths hang together: as published, 24 narrow layers
        "funnel": {
            **tokens,
            "d_model": width,
            "n_head": heads,
            "d_head": width // heads,
            "d_inner": inner,
            "block_sizes": [max(1, layers // 3)] * 3,
        },
        "xlnet": {**tokens, "d_model": width, "n_layer": layers, "n_head": heads, "d_inner": inner},
        "fnet": common,
        "esm": {**common, "mask_token_id": 4},
    }
