"""A tiny configuration of every architecture, and model folders of random weights that are made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from conftest import save_tokenizer

PAD, END, VOCABULARY = 1, 2, 60
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 40, "pad_token_id": PAD, "eos_token_id": END, "bos_token_id": 0,
    "initializer_range": 0.2,
}  # fmt: skip
GROUPED = {**COMMON, "num_key_value_heads": 1, "head_dim": 16}
EXPERTS = {
    **GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
}  # fmt: skip
WITHOUT_LIMIT = {key: value for key, value in COMMON.items() if key != "max_position_embeddings"}
WITHOUT_MIDDLE = {key: value for key, value in COMMON.items() if key != "intermediate_size"}
WITHOUT_DEPTH = {key: value for key, value in COMMON.items() if key != "num_hidden_layers"}
POOLED = {
    **WITHOUT_DEPTH, "block_sizes": [1, 2], "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 48,
    "initializer_std": 0.2, "architectures": ["FunnelBaseModel"],
}  # fmt: skip
BOTTLENECKS = {
    **COMMON, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16, "num_feedforward_networks": 2,
}  # fmt: skip
SIDE_BY_SIDE = {**COMMON, "emb_dim": 32, "n_layers": 2, "n_heads": 2, "pad_index": PAD, "embed_init_std": 0.2}
TWO_SIDES = {
    **COMMON, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "decoder_start_token_id": END,
    "forced_eos_token_id": END, "init_std": 0.2,
}  # fmt: skip
TEXT_TO_TEXT = {
    **COMMON, "decoder_start_token_id": PAD, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2,
}  # fmt: skip
DISENTANGLED = {**COMMON, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "bert": COMMON,
    "electra": {**COMMON, "embedding_size": 16},
    "ernie": COMMON,
    "megatron-bert": COMMON,
    "rembert": {**COMMON, "input_embedding_size": 16, "output_embedding_size": 16},
    "convbert": {**COMMON, "embedding_size": 32, "conv_kernel_size": 3},
    "albert": {**COMMON, "embedding_size": 16, "hidden_dropout_prob": 0.1},
    "roberta": COMMON,
    "xlm-roberta": {**COMMON, "type_vocab_size": 1},
    "camembert": COMMON,
    "xlm-roberta-xl": COMMON,
    "data2vec-text": COMMON,
    "roberta-prelayernorm": COMMON,
    "roformer": {**COMMON, "embedding_size": 16},
    "nystromformer": {**COMMON, "num_landmarks": 8, "segment_means_seq_len": 8, "conv_kernel_size": 3},
    "mobilebert": BOTTLENECKS,
    "big_bird": {**COMMON, "block_size": 4, "num_random_blocks": 1},
    "longformer": {**COMMON, "attention_window": 4, "type_vocab_size": 1},
    "mpnet": COMMON,
    "distilbert": {**COMMON, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
    "deberta-v2": {**DISENTANGLED, "position_buckets": 8},
    "deberta": DISENTANGLED,
    "modernbert": {**COMMON, "local_attention": 8, "global_attn_every_n_layers": 2, "classifier_pooling": "cls"},
    "modernbert mean": {**COMMON, "local_attention": 8, "global_attn_every_n_layers": 2, "classifier_pooling": "mean"},
    "eurobert": {**GROUPED, "classifier_pooling": "late"},
    "xlm": SIDE_BY_SIDE,
    "flaubert": SIDE_BY_SIDE,
    "funnel": POOLED,
    "xlnet": {**WITHOUT_LIMIT, "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48},
    "nomic_bert": COMMON,
    "jina_embeddings_v3": {**COMMON, "type_vocab_size": 1},
    "fnet": COMMON,
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 6},
    "qwen2": GROUPED,
    "qwen3": GROUPED,
    "gemma": GROUPED,
    "gemma2": {**GROUPED, "sliding_window": 6},
    "gemma3_text": {**GROUPED, "sliding_window": 6},
    "smollm3": GROUPED,
    "olmo2": GROUPED,
    "olmo": GROUPED,
    "olmo3": {**GROUPED, "sliding_window": 6},
    "stablelm": {**COMMON, "num_key_value_heads": 1},
    "ministral": {**GROUPED, "sliding_window": 6},
    "ministral3": GROUPED,
    "exaone4": {**GROUPED, "sliding_window": 6, "sliding_window_pattern": 2},
    "arcee": GROUPED,
    "nemotron": GROUPED,
    "qwen2_moe": EXPERTS,
    "qwen3_moe": EXPERTS,
    "mixtral": {**EXPERTS, "num_local_experts": 4},
    "glm": GROUPED,
    "glm4": GROUPED,
    "starcoder2": {**GROUPED, "sliding_window": 6},
    "biogpt": COMMON,
    "mpt": {**WITHOUT_LIMIT, "d_model": 32, "n_heads": 2, "n_layers": 2, "max_seq_len": 40},
    "phi3": GROUPED,
    "phi": COMMON,
    "gpt2": COMMON,
    "openai-gpt": COMMON,
    "gpt_bigcode": COMMON,
    "gpt_neo": {**COMMON, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    "gptj": {**WITHOUT_MIDDLE, "rotary_dim": 8},
    "gpt_neox": COMMON,
    "bloom": COMMON,
    "falcon": {**COMMON, "alibi": False, "new_decoder_architecture": False},
    "opt": {**COMMON, "ffn_dim": 48, "word_embed_proj_dim": 16, "init_std": 0.2},
    "bart": TWO_SIDES,
    "mbart": TWO_SIDES,
    "mvp": TWO_SIDES,
    "t5": {**TEXT_TO_TEXT, "feed_forward_proj": "relu"},
    "mt5": TEXT_TO_TEXT,
}
UNKNOWN: dict[str, dict[str, Any]] = {
    "esm": {**COMMON, "position_embedding_type": "absolute", "mask_token_id": 4},
    "helium": GROUPED,
    "modernbert-decoder": {**COMMON, "local_attention": 8},
    "plbart": TWO_SIDES,
}

FITTING: dict[str, dict[str, Any]] = {
    "last_layers": {"layers": 1},
    "miss": {"r": 8},
    "psoft": {"r": 8},
    "fourierft": {"n_frequency": 200},
    "waveft": {"n_frequency": 200},
    "adalora": {"init_r": 6, "target_r": 3},
    "houlsby": {"bottleneck_size": 8},
    "pfeiffer": {"bottleneck_size": 8},
    "prompt_tuning": {"num_virtual_tokens": 3},
    "p_tuning": {"num_virtual_tokens": 3},
}
"""Options of methods that fit these models, where a default is more than their layers have."""


def config_of(kind: str, **changes: Any) -> Any:
    """The configuration of an architecture (perhaps of one variant: `modernbert mean`), with some fields as given."""
    from transformers import AutoConfig

    return AutoConfig.for_model(kind.split()[0], **((CONFIGURATIONS | UNKNOWN)[kind] | changes))


def model_folder(kind: str, folder: Path, **changes: Any) -> Path:
    """A model folder of random weights, without a classifier, and with a tokenizer of whole words."""
    from transformers import AutoModel

    torch.manual_seed(3)
    AutoModel.from_config(config_of(kind, **changes)).save_pretrained(folder)
    save_tokenizer(folder)
    return folder
