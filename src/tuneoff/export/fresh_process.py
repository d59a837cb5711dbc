"""Classifies texts with a saved model as people without tuneoff do: a script, run in a process of its own.

Its argument is a folder that holds `task.json`: the `lines` that load the model, `texts` or pairs of them, and how many
of them are classified at once. It writes `logits.npy`, shape (texts, classes), and `told.json` there.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "onnxruntime", "tokenizers", "numpy")


def main(folder: Path) -> None:
    """Carries out a task."""
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    exec(task["lines"], names)  # they are tuneoff's own
    device = "cpu"
    if "classify" in names:
        classify = names["classify"]
    else:
        model, tokenizer = names["model"], names["tokenizer"]
        if torch.cuda.is_available():
            model.to("cuda")
        device = model.device.type

        def classify(texts: list[Any]) -> Any:
            inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(model.device)
            return model(**inputs).logits

    texts = [tuple(text) if isinstance(text, list) else text for text in task["texts"]]
    size = task["batch_size"]
    with torch.inference_mode():
        batches = [classify(texts[start : start + size]) for start in range(0, len(texts), size)]
    logits = [batch if isinstance(batch, np.ndarray) else batch.float().cpu().numpy() for batch in batches]
    np.save(folder / "logits.npy", np.concatenate(logits))
    loaded = {name.split(".")[0] for name in sys.modules}
    assert "tuneoff" not in loaded
    versions = {name: metadata.version(name) for name in PACKAGES if name in loaded}
    told = {"device": device, "versions": {"python": platform.python_version(), **versions}}
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
