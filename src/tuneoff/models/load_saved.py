"""Loading a saved model, to compute with it as it was scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.models.hide import bitsandbytes_hidden
from tuneoff.models.load import LoadedModel, load_classifier, load_config, load_tokenizer, load_whole
from tuneoff.models.quiet import transformers_quiet
from tuneoff.models.save import HEAD
from tuneoff.models.saved import SavedFolder

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class SavedClassifier:
    """A saved model in memory.

    Attributes:
        model: gives logits; in evaluation mode, nothing of it is trained.
        loaded: the classifier inside it.
        tokenizer: of the saved folder, which cuts texts as in the study.
    """

    model: nn.Module
    loaded: LoadedModel
    tokenizer: PreTrainedTokenizerBase


@transformers_quiet()
def load_saved(opened: SavedFolder, base: Path | None, device: torch.device, dtype: torch.dtype) -> SavedClassifier:
    """Loads a saved model.

    Args:
        opened: from `SavedFolder.open`.
        base: the base model's folder, from `SavedFolder.base_folder`; None of a model that was saved whole.
        device: where to.
        dtype: what it computes in; weights have it, but for those in 4 bits.

    Raises:
        UserError: where weights are missing, are those of another model or number of classes, or of onnxruntime's.
    """
    saved, classes = opened.saved, len(opened.saved.texts.label_names)
    if saved.kind == "onnx":
        raise UserError(
            f"'{opened.folder}' is an ONNX model, which onnxruntime loads as its README.md says; export it with "
            "--format model or merged to use it here"
        )
    tokenizer = load_tokenizer(opened.folder)
    if saved.kind == "whole":
        loaded = load_whole(opened.folder, load_config(opened.folder, classes, tokenizer.pad_token_id), device)
        model: Any = loaded.model
    else:
        assert base is not None
        config = load_config(base, classes, tokenizer.pad_token_id)
        loaded = load_classifier(base, config, 0, device, dtype if saved.quantised else None)
        put = _with_adapter if saved.kind == "adapter" else _with_head
        if saved.quantised:
            model = put(opened, loaded)
        else:
            with bitsandbytes_hidden():
                model = put(opened, loaded)
    model.requires_grad_(False)
    return SavedClassifier(model.eval(), loaded, tokenizer)


def _with_adapter(opened: SavedFolder, loaded: LoadedModel) -> nn.Module:
    import peft
    from safetensors import SafetensorError

    config = peft.PeftConfig.from_pretrained(str(opened.folder))
    if not set(loaded.head_modules) <= set(config.modules_to_save or ()):
        lacking = next(name for name in loaded.head_modules if name not in (config.modules_to_save or ()))
        raise UserError(f"'{opened.folder}' does not hold the trained head ({lacking}); train the model again")
    model = peft.PeftModel(loaded.model, config)
    try:
        result = model.load_adapter(str(opened.folder), "default")
    except SafetensorError as error:
        raise UserError(f"the weights in '{opened.folder}' are damaged ({error}); train the model again") from error
    except KeyError as error:
        raise UserError(f"'{opened.folder}' does not hold the trained head ({error}); train the model again") from error
    except RuntimeError as error:  # of tensors of another shape
        raise UserError(
            f"the adapter in '{opened.folder}' does not fit its base model, or another number of classes "
            f"({str(error).strip().splitlines()[-1].strip()})"
        ) from error
    added = [key for key in result.missing_keys if any(mark in key for mark in ("modules_to_save", model.prefix))]
    unfit = [*added, *result.unexpected_keys]
    if unfit:
        raise UserError(f"the adapter in '{opened.folder}' does not fit its base model ({unfit[0]})")
    return model


def _with_head(opened: SavedFolder, loaded: LoadedModel) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from tuneoff.models.mean_pooled import MeanPooledClassifier

    model = MeanPooledClassifier(loaded)
    try:
        head = load_file(opened.folder / HEAD)
    except SafetensorError as error:
        raise UserError(f"the weights in '{opened.folder}' are damaged ({error}); train the model again") from error
    if {name: value.shape for name, value in head.items()} != {
        name: tuple(value.shape) for name, value in model.own_head.named_parameters()
    }:
        raise UserError(f"the head in '{opened.folder / HEAD}' does not fit its base model or its number of classes")
    model.set_head(head["weight"], head["bias"])
    return model
