"""Model folders in the published shapes of models people start from, without weights: for speed and memory alone.

    python benchmarks/shapes.py modernbert-base OUT --tokenizer DIR
    python benchmarks/vs_trainer.py benchmarks/imdb-shapes.toml --random-weights OUT --set data.train=…

The tokenizer is another model's, whose numbers of tokens are all below these vocabularies: what a step costs depends
on how many tokens it has, not on which.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

SHAPES: dict[str, dict[str, Any]] = {
    "all-minilm-l6": {
        "model_type": "bert",
        "vocab_size": 50265,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
    },
    "modernbert-base": {
        "model_type": "modernbert",
        "vocab_size": 50368,
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "max_position_embeddings": 8192,
        "local_attention": 128,
        "global_attn_every_n_layers": 3,
        "classifier_pooling": "mean",
    },
    "deberta-v3-base": {
        "model_type": "deberta-v2",
        "vocab_size": 128100,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
        "relative_attention": True,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "pooler_hidden_size": 768,
        "pooler_dropout": 0,
        "pooler_hidden_act": "gelu",
    },
    "smollm2-135m": {
        "model_type": "llama",
        "vocab_size": 50304,  # its own has fewer than this tokenizer
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "qwen3-0.6b": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "tie_word_embeddings": True,
    },
    "llama-3.2-1b": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
    },
    "llama-3.1-8b": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
    },
}
"""By name; what is not said is transformers' default for the architecture, which is the published value."""


def write_shape(name: str, tokenizer: Path, out: Path) -> None:
    """Writes a model folder without weights.

    Args:
        name: of the shape.
        tokenizer: a model folder whose tokenizer is taken, with its special tokens.
        out: a new folder.
    """
    special = AutoTokenizer.from_pretrained(tokenizer)
    special.save_pretrained(out)
    config = AutoConfig.for_model(
        **SHAPES[name],
        pad_token_id=special.pad_token_id,
        bos_token_id=special.bos_token_id,
        eos_token_id=special.eos_token_id,
    )
    (out / "config.json").write_text(json.dumps(config.to_dict(), indent=1))


def main() -> None:
    """Carries out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="DIR", help="a model folder with a tokenizer")
    arguments = parser.parse_args()
    write_shape(arguments.name, arguments.tokenizer, arguments.out)


if __name__ == "__main__":
    main()
