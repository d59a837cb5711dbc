"""What the tests of engines share: small models of every architecture, tokens of many lengths, gradients of a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tuneoff.data.tokens import Tokens
from tuneoff.models.load import LoadedModel
from tuneoff.training.engines.base import Engine
from tuneoff.training.kernels.dropout import Dropout

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"vocab_size": 100, "pad_token_id": 0}
BERT_LIKE = {
    **SMALL, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": 64,
}  # fmt: skip
LLAMA_LIKE = {**BERT_LIKE, "num_key_value_heads": 2, "max_position_embeddings": 64}
DISENTANGLED = {**BERT_LIKE, "num_attention_heads": 2, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
PACKED: dict[str, dict[str, Any]] = {
    "bert": {**BERT_LIKE, "num_attention_heads": 2},  # heads of a size that the attention kernels know
    "roberta": {**BERT_LIKE, "num_attention_heads": 2, "pad_token_id": 1},
    "xlm-roberta": {**BERT_LIKE, "pad_token_id": 1},
    "camembert": {**BERT_LIKE, "pad_token_id": 1},
    "electra": {**BERT_LIKE, "embedding_size": 64},
    "ernie": BERT_LIKE,
    "albert": {**BERT_LIKE, "embedding_size": 32},
    "distilbert": {**SMALL, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "max_position_embeddings": 64},
    "modernbert": {**BERT_LIKE, "local_attention": 8, "global_attn_every_n_layers": 2, "classifier_pooling": "cls"},
    "modernbert mean": {**BERT_LIKE, "local_attention": 8, "classifier_pooling": "mean"},
    "deberta-v2": DISENTANGLED,
    "deberta-v2 buckets": {
        **DISENTANGLED,
        "position_buckets": 8,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "type_vocab_size": 0,
        "position_biased_input": False,
    },
    "llama": LLAMA_LIKE,
    "mistral": {**LLAMA_LIKE, "sliding_window": 6},
    "qwen2": LLAMA_LIKE,
    "qwen3": {**LLAMA_LIKE, "head_dim": 16},
    "gemma": {**LLAMA_LIKE, "head_dim": 16},
    "gemma3_text": {
        **LLAMA_LIKE,
        "head_dim": 16,
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "smollm3": LLAMA_LIKE,
    "olmo2": LLAMA_LIKE,
    "phi": LLAMA_LIKE,
    "phi3": {**LLAMA_LIKE, "sliding_window": 6},
    "gpt2": {**SMALL, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "attn_pdrop": 0.0},
    "gpt_neox": BERT_LIKE,
}
PADDED: dict[str, dict[str, Any]] = {
    "deberta": DISENTANGLED,
    "mpnet": {**BERT_LIKE, "pad_token_id": 1},
    "gptj": {**SMALL, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 8},
}


def make_tokens(lengths: list[int], seed: int = 0) -> Tokens:
    draw = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = draw.integers(5, 100, size=int(offsets[-1])).astype(np.int32)
    return Tokens(ids, offsets, draw.integers(0, 3, size=len(lengths)).astype(np.int64))


TOKENS = make_tokens([1, 7, 30, 2, 12, 12, 3, 1, 25, 9])


def classifier(kind: str, options: dict[str, Any], outputs: int = 3) -> LoadedModel:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind.split()[0], num_labels=outputs, **options)
    return LoadedModel.of(AutoModelForSequenceClassification.from_config(config, dtype=torch.float32), ())


def gradients(engine: Engine, rows: list[int]) -> dict[str, torch.Tensor]:
    """Gradients of one step's loss without dropout."""
    found: dict[str, torch.Tensor] = {}
    engine.model.train()
    for module in engine.model.modules():
        if isinstance(module, Dropout):
            module.p = 0.0

    def keep() -> None:
        found.update({name: p.grad.clone() for name, p in engine.model.named_parameters() if p.grad is not None})

    engine.optimiser.step = keep  # type: ignore[method-assign]
    engine._step(TOKENS, np.array(rows), 0.0)
    return found
