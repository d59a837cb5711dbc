"""An export as an ONNX graph with all weights, for onnxruntime."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tuneoff.core.errors import UserError, one_line
from tuneoff.core.files import read_json, write_json
from tuneoff.core.quiet import only_errors_logged
from tuneoff.export.trained import Trained
from tuneoff.export.whole import whole_classifier
from tuneoff.models.folder import ADAPTER
from tuneoff.models.quiet import transformers_quiet
from tuneoff.models.save import describe_saved
from tuneoff.models.saved import QUANTISATION
from tuneoff.records.saved_model import SavedModel

if TYPE_CHECKING:
    from tuneoff.models.load_saved import SavedClassifier

GRAPH = "model.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")
MOST_BYTES = 1_500_000_000
"""Weights up to this size lie in the graph's own file, which cannot be larger than 2 GiB; larger ones beside it."""
EXAMPLE = "an example"
EXAMPLE_TOKENS = 8


def write_onnx(trained: Trained, folder: Path) -> SavedModel:
    """Writes a graph in float32 from token ids, of any number and length of texts, to logits; tokenizer beside it.

    Raises:
        UserError: where packages are missing, or the model cannot be exported.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--format onnx needs {', '.join(missing)}: pip install 'tuneoff[onnx]'")
    opened = trained.opened
    for name in opened.saved.sha256:
        if not name.endswith(".safetensors") and name not in (ADAPTER, QUANTISATION):
            shutil.copyfile(opened.folder / name, folder / name)
    write_json(folder / "config.json", {**read_json(folder / "config.json"), "dtype": "float32"})
    _write_graph(whole_classifier(trained), folder / GRAPH)
    saved = opened.saved.model_copy(update={"kind": "onnx", "base": trained.base, "quantization": None})
    return describe_saved(folder, saved)


class _ToLogits(nn.Module):
    """A classifier with tensors as its inputs and its output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits


@transformers_quiet()
def _write_graph(classifier: SavedClassifier, path: Path) -> None:
    model: Any = classifier.model
    for config in (model.config, model.config.get_text_config()):
        config.use_cache = False
    inputs = _example(classifier)
    dimension = torch.export.Dim.DYNAMIC
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    try:
        with torch.no_grad(), warnings.catch_warnings(), only_errors_logged("torch.onnx", "torch.export", "onnxscript"):
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                _ToLogits(model),
                kwargs=inputs,
                dynamo=True,
                input_names=list(inputs),
                output_names=["logits"],
                dynamic_shapes={name: {0: dimension, 1: dimension} for name in inputs},
                verbose=False,
            )
            for graph in (program.model.graph, *program.model.functions.values()):
                for node in graph.all_nodes():
                    node.metadata_props.clear()  # which name the files of this machine's libraries
            program.save(path, external_data=size > MOST_BYTES)
    except torch.onnx.OnnxExporterError as error:
        kind = model.config.model_type
        cause = one_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise UserError(f"PyTorch cannot export a model of the architecture '{kind}' to ONNX ({cause})") from error


def _example(classifier: SavedClassifier) -> dict[str, torch.Tensor]:
    """Inputs of two texts, the values of which do not matter."""
    tokenizer = classifier.tokenizer
    length = min(EXAMPLE_TOKENS, int(tokenizer.model_max_length))
    encoded = tokenizer([EXAMPLE] * 2, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    names = ["input_ids", "attention_mask"]
    if classifier.loaded.architecture.type_vocab_size > 1 and "token_type_ids" in encoded:
        names.append("token_type_ids")
    return {name: encoded[name] for name in names}
