"""Loads saved models as people without tuneoff do, and returns what they say, in a process that is free of tuneoff."""

from __future__ import annotations

import sys
from typing import Any

import torch


def answer(code: str, texts: list[Any]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    texts = [tuple(text) if isinstance(text, list) else text for text in texts]
    if "classify" in names:
        classify, config = names["classify"], names["backbone"].config if "backbone" in names else None
    else:
        model, tokenizer = names["model"], names["tokenizer"]
        config = model.config

        def classify(some: list[Any]) -> torch.Tensor:
            logits: torch.Tensor = model(**tokenizer(some, padding=True, truncation=True, return_tensors="pt")).logits
            return logits

    with torch.no_grad():
        alone = torch.cat([torch.as_tensor(classify([text])).float() for text in texts])
        padded = torch.as_tensor(classify(texts)).float()
    labels = [] if config is None else [config.id2label[index] for index in range(len(config.id2label))]
    return {"alone": alone.tolist(), "padded": padded.tolist(), "labels": labels}


def answers(jobs: list[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
    """What models say of texts (or pairs of them).

    Args:
        jobs: the lines of Python that load each model, and its texts.

    Returns:
        For each the logits of each text alone (`alone`), of all as one padded batch (`padded`), and the names of the
        classes (`labels`; none of an ONNX graph).
    """
    torch.set_num_threads(1)
    found = []
    for code, texts in jobs:
        try:
            found.append(answer(code, texts))
        except Exception as error:
            error.add_note(code)
            raise
    assert not any(name.split(".")[0] == "tuneoff" for name in sys.modules)
    return found
