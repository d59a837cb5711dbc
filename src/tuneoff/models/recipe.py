"""The lines of Python that load a saved model with plain transformers and peft, or onnxruntime."""

from __future__ import annotations

from tuneoff.records.saved_model import SavedModel

BASE = "BASE"
"""Stands for the base model's folder where lines cannot name it."""


ONNX_LINES = [
    'session = onnxruntime.InferenceSession(folder + "/model.onnx")',
    "tokenizer = AutoTokenizer.from_pretrained(folder)",
    "def classify(texts):",
    '    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="np")',
    '    return session.run(["logits"], {one.name: inputs[one.name] for one in session.get_inputs()})[0]',
]


def loading_lines(saved: SavedModel, folder: str, base: str | None = None) -> str:
    """Lines that give `model` and `tokenizer`; of mean features and ONNX, `classify(texts)` in place of a model.

    Args:
        saved: what it is.
        folder: of the saved model, as the lines are to call it.
        base: the base model's folder or id; as it is recorded when left out, or `BASE` where that cannot be loaded.
    """
    if saved.kind == "onnx":
        imports = ["import onnxruntime", "from transformers import AutoTokenizer", ""]
        return "\n".join([*imports, f"folder = {folder!r}", *ONNX_LINES])
    own_base = saved.base.revision is not None and base is None
    at = repr(base) if base else (repr(saved.base.id) if own_base else BASE)
    revision = f", revision={saved.base.revision!r}" if own_base else ""
    tokenizer = f"tokenizer = AutoTokenizer.from_pretrained({folder!r})"
    if saved.kind == "whole":
        return "\n".join(
            [
                "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
                f"model = AutoModelForSequenceClassification.from_pretrained({folder!r})",
                tokenizer,
            ]
        )
    if saved.kind == "features":
        return "\n".join(
            [
                "from safetensors.torch import load_file",
                "from transformers import AutoModel, AutoTokenizer",
                f'backbone, head = AutoModel.from_pretrained({at}{revision}), load_file("{folder}/head.safetensors")',
                tokenizer,
                "def classify(texts):",
                '    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")',
                '    mask = inputs["attention_mask"][..., None]',
                "    features = (backbone(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)",
                '    return features @ head["weight"].T + head["bias"]',
            ]
        )
    lines = ["from peft import PeftModel"]
    options = f"config=AutoConfig.from_pretrained({folder!r}){revision}"
    names = "AutoConfig, AutoModelForSequenceClassification, AutoTokenizer"
    if saved.quantised:
        lines = ["import json", *lines]
        names += ", BitsAndBytesConfig"
        options += f', quantization_config=BitsAndBytesConfig(**json.load(open("{folder}/quantization_config.json")))'
    return "\n".join(
        [
            *lines,
            f"from transformers import {names}",
            f"base = AutoModelForSequenceClassification.from_pretrained({at}, {options})",
            f"model = PeftModel.from_pretrained(base, {folder!r})",
            tokenizer,
        ]
    )
