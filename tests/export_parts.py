"""What the tests of exports share: tiny models and texts that end in tokens for padding, and what runs stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from conftest import bert_config, reviews, save_tokenizer
from tuneoff.export.trained import Trained

WORDS = ("good", "bad", "lovely", "awful", "superb", "dull")


def data_of(folder: Path, classes: int) -> Path:
    """Train and test files; some of the texts end in what is a token for padding."""
    folder.mkdir()
    for name, count, seed in (("train", 120, 1), ("test", 40, 2)):
        frame = reviews(count, seed=seed, first_row=1000 * seed)
        frame["label"] = [row % classes for row in range(count)]
        ends = ["", " [SEP]", " [PAD] [PAD]"]
        frame["text"] = [f"{text} {WORDS[row % classes]}{ends[row % 3]}" for row, text in enumerate(frame["text"])]
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def model_of(kind: str, folder: Path) -> Path:
    """A tiny pretrained model; the decoder's tokenizer ends each text in the token that it pads with."""
    from transformers import AutoModel, ElectraConfig, LlamaConfig, RobertaConfig

    folder.mkdir()
    vocabulary = save_tokenizer(folder)
    sizes: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    }
    configs: dict[str, Any] = {
        "bert": bert_config(vocabulary),
        "roberta": RobertaConfig(**{**sizes, "max_position_embeddings": 66}, type_vocab_size=1),
        "electra": ElectraConfig(**sizes, embedding_size=32),
        "llama": LlamaConfig(**{**sizes, "pad_token_id": 3}, num_key_value_heads=1, bos_token_id=2, eos_token_id=3),
    }
    torch.manual_seed(0)
    AutoModel.from_config(configs[kind]).save_pretrained(folder)
    if kind == "llama":
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": "[SEP]"}))
    return folder


def stored_logits(trained: Trained) -> NDArray[np.float32]:
    return np.stack(trained.predictions["logits"].to_list())


def texts_of(trained: Trained) -> list[str]:
    return pd.read_parquet(trained.test)["text"].to_list()
