"""Loading saved models, to compute with them as they were scored; those on one base model share its tensors."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError, saying
from tuneoff.models.folder import ADAPTER
from tuneoff.models.guard import told_in_one_line
from tuneoff.models.head import give_shapes
from tuneoff.models.hide import bitsandbytes_hidden, compile_nothing
from tuneoff.models.load import LoadedModel, load_classifier, load_config, load_tokenizer, load_whole
from tuneoff.models.quantised import Quantisation, keep_dtype, quantisation_of, unquantised
from tuneoff.models.quiet import transformers_quiet
from tuneoff.models.save import BOTTLENECKS, HEAD
from tuneoff.models.saved import SavedFolder
from tuneoff.models.virtual_tokens import are_put_in, ids_behind

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


class BaseModels:
    """Base models in memory, each once, whatever is loaded upon it."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, Quantisation | None], LoadedModel] = {}

    def classifier(
        self, opened: SavedFolder, base: Path, pad_token_id: int | None, device: torch.device, dtype: torch.dtype
    ) -> LoadedModel:
        """A classifier whose head is to be filled, with modules of its own and the tensors of its base model.

        Args:
            opened: what is to be loaded upon it.
            base: the base model's folder.
            pad_token_id: the token that pads.
            device: where to.
            dtype: what quantised weights compute in.
        """
        saved = opened.saved
        config = load_config(base, len(saved.texts.label_names), pad_token_id)
        quantisation = quantisation_of(saved.quantization, dtype)
        key = saved.base.fingerprint, quantisation
        if key not in self._loaded:
            self._loaded[key] = load_classifier(base, config, 0, device, quantisation)
        return _with_own_modules(self._loaded[key], config)


@transformers_quiet()
@saying((r"^model\.id: ", ""))
def load_saved(
    opened: SavedFolder,
    base: Path | None,
    device: torch.device,
    dtype: torch.dtype,
    base_models: BaseModels | None = None,
) -> SavedClassifier:
    """Loads a saved model.

    Args:
        opened: from `SavedFolder.open`.
        base: the base model's folder, from `SavedFolder.base_folder`; None of a model that was saved whole.
        device: where to.
        dtype: what it computes in; weights have it, but for quantised ones.
        base_models: those in memory already, whose tensors it shares.

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
        _check_virtual_tokens(opened, tokenizer, _rows(loaded) - saved.virtual_tokens)
    else:
        assert base is not None
        base_models = base_models or BaseModels()
        loaded = base_models.classifier(opened, base, tokenizer.pad_token_id, device, dtype)
        _check_virtual_tokens(opened, tokenizer, _rows(loaded))
        put = {"adapter": _with_adapter, "bottleneck": _with_bottlenecks, "features": _with_head}[saved.kind]
        if saved.quantised:
            model = put(opened, loaded)
            keep_dtype(model)
        else:
            with bitsandbytes_hidden():
                model = put(opened, loaded)
    model.requires_grad_(False)
    return SavedClassifier(model.eval(), loaded, tokenizer)


def _with_own_modules(loaded: LoadedModel, config: Any) -> LoadedModel:
    """A copy of a classifier that holds the same tensors, but for its head, which has the shapes of a configuration."""
    model = loaded.model
    own = {id(tensor) for path in loaded.head_modules for tensor in model.get_submodule(path).parameters()}
    shared = [tensor for tensor in (*model.parameters(), *model.buffers()) if id(tensor) not in own]
    # What weights in 4 bits are unpacked with hangs on them, and on their modules once more.
    states = [state for state in (getattr(tensor, "quant_state", None) for tensor in shared) if state is not None]
    copied = copy.deepcopy(model, {id(kept): kept for kept in (*shared, *states)})
    give_shapes(copied, loaded.head_modules, unquantised(config))
    copied.config.num_labels = copied.num_labels = config.num_labels
    return LoadedModel.of(copied, loaded.head_modules)


def _rows(loaded: LoadedModel) -> int:
    rows: int = loaded.model.get_input_embeddings().num_embeddings
    return rows


def _check_virtual_tokens(opened: SavedFolder, tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> None:
    """Refuses a tokenizer that would have texts answered without what was trained to stand in them."""
    count = opened.saved.virtual_tokens
    if count and not are_put_in(tokenizer, ids_behind(vocabulary, count)):
        raise UserError(
            f"the tokenizer in '{opened.folder}' does not put the {count} virtual tokens into texts that the model was "
            "trained with; train the model again"
        )


def _with_adapter(opened: SavedFolder, loaded: LoadedModel) -> nn.Module:
    import peft

    from tuneoff.models.virtual_embedding import longer_table, look_up_rows

    with told_in_one_line(f"'{opened.folder / ADAPTER}' describes no adapter"):
        config = peft.PeftConfig.from_pretrained(str(opened.folder))
    if not set(loaded.head_modules) <= set(config.modules_to_save or ()):
        lacking = next(name for name in loaded.head_modules if name not in (config.modules_to_save or ()))
        raise UserError(f"'{opened.folder}' does not hold the trained head ({lacking}); train the model again")
    if config.peft_type == peft.PeftType.BOFT:
        compile_nothing()
    virtual_tokens = opened.saved.virtual_tokens
    if virtual_tokens:
        ids = ids_behind(loaded.model.get_input_embeddings().num_embeddings, virtual_tokens)
        named = getattr(config, "trainable_token_indices", None) or {"": ()}
        if any(tuple(rows) != ids for rows in named.values()):
            raise UserError(f"the virtual tokens in '{opened.folder}' are not those behind its base model's vocabulary")
    _give_own(loaded.model, opened.folder / "adapter_model.safetensors")
    with (
        told_in_one_line(f"the adapter in '{opened.folder}' does not fit its base model"),
        longer_table(loaded.model, virtual_tokens) if virtual_tokens else nullcontext(),
    ):
        model = peft.PeftModel(loaded.model, config)
    with told_in_one_line(
        f"'{opened.folder}' does not hold the trained head, or does not fit its base model, or is of another "
        "number of classes; train the model again"
    ):
        result = model.load_adapter(str(opened.folder), "default")
    # What all layers share has a name in each, and is read by one of them.
    held = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    read = {id(tensor) for name, tensor in held.items() if name not in result.missing_keys}
    lacking_keys = [key for key in result.missing_keys if id(held.get(key)) not in read]
    added = [key for key in lacking_keys if any(mark in key for mark in ("modules_to_save", model.prefix))]
    unfit = [*added, *result.unexpected_keys]
    if unfit:
        raise UserError(f"the adapter in '{opened.folder}' does not fit its base model ({unfit[0]})")
    if virtual_tokens:
        look_up_rows(model)
    return model


def _give_own(classifier: Any, weights: Path) -> None:
    """Copies those tensors of a base model that an adapter's file writes over, as biases: others may share them."""
    from safetensors import safe_open
    from torch import nn

    held = dict(classifier.named_parameters())
    with told_in_one_line(_damaged(weights.parent)), safe_open(weights, framework="pt") as file:
        names = file.keys()  # it is no dictionary
    for name in (name.removeprefix("base_model.model.") for name in names):
        if name in held:
            module, _, own_name = name.rpartition(".")
            setattr(classifier.get_submodule(module), own_name, nn.Parameter(held[name].detach().clone()))


def _with_bottlenecks(opened: SavedFolder, loaded: LoadedModel) -> nn.Module:
    from safetensors.torch import load_file

    from tuneoff.models.bottleneck import FIRST_WEIGHT, MARK, put_bottlenecks

    classifier = loaded.model
    with told_in_one_line(_damaged(opened.folder)):
        tensors = load_file(opened.folder / BOTTLENECKS)
    with told_in_one_line(
        f"the bottlenecks in '{opened.folder}' do not fit its base model, or another number of classes"
    ):
        for name in tensors:
            if name.endswith(FIRST_WEIGHT):
                put_bottlenecks(classifier, [name.removesuffix(FIRST_WEIGHT)], size=len(tensors[name]))
        result = classifier.load_state_dict(tensors, strict=False)
    heads = tuple(head + "." for head in loaded.head_modules)
    lacking = [key for key in result.missing_keys if MARK in key or key.startswith(heads)]
    if lacking or result.unexpected_keys:
        unfit = (lacking + result.unexpected_keys)[0]
        raise UserError(f"the bottlenecks in '{opened.folder}' do not fit its base model ({unfit})")
    return classifier


def _with_head(opened: SavedFolder, loaded: LoadedModel) -> nn.Module:
    from safetensors.numpy import load_file

    from tuneoff.models.mean_pooled import MeanPooledClassifier

    model = MeanPooledClassifier(loaded)
    with told_in_one_line(_damaged(opened.folder)):
        head = load_file(opened.folder / HEAD)
    if {name: value.shape for name, value in head.items()} != {
        name: tuple(value.shape) for name, value in model.own_head.named_parameters()
    }:
        raise UserError(f"the head in '{opened.folder / HEAD}' does not fit its base model or its number of classes")
    model.set_head(head["weight"], head["bias"])
    return model


def _damaged(folder: Path) -> str:
    return f"the weights in '{folder}' are damaged; train the model again"
