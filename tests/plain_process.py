"""Loads saved models as people without tuneoff do, and prints what they say: a script, run in a process of its own.

Standard input holds a list as JSON, each entry with the lines of Python that load a model (`code`) and `texts` (or
pairs of them). For each, the JSON that is printed holds the logits of each text alone (`alone`), of all as one padded
batch (`padded`), and the names of the classes (`labels`; none of an ONNX graph).
"""

from __future__ import annotations

import json
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    answers = []
    for job in json.load(sys.stdin):
        try:
            answers.append(answer(job["code"], job["texts"]))
        except Exception as error:
            error.add_note(job["code"])
            raise
    assert not any(name.split(".")[0] == "tuneoff" for name in sys.modules)
    print(json.dumps(answers))
