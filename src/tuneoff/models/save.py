"""Saving what a run has trained, so that plain transformers and peft load it anywhere."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.files import file_hash, replacing_directory, write_json
from tuneoff.models.load import load_config, load_tokenizer
from tuneoff.models.looking import architecture_of
from tuneoff.models.quantised import stored_quantisation, unquantised
from tuneoff.models.quiet import transformers_quiet
from tuneoff.models.recipe import BASE, loading_lines
from tuneoff.models.saved import QUANTISATION
from tuneoff.models.virtual_tokens import ids_behind, load_as_written, put_into_texts
from tuneoff.records.label_kind import LabelKind
from tuneoff.records.saved_model import REFIT_WORDS, SAVED_MODEL, BaseModel, SavedKind, SavedModel, TextRules
from tuneoff.spec.arms import METHODS
from tuneoff.spec.data import TASKS

if TYPE_CHECKING:
    import peft
    import torch
    from torch import nn

BOTTLENECKS = "bottlenecks.safetensors"
"""The tensors of bottlenecks and of the head, by their names in the model."""
HEAD = "head.safetensors"
"""The linear head of a model that reads mean features: `weight`, shape (classes, hidden), and `bias`."""
LOADED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.onnx", "*.onnx.data")
"""What a model is loaded from."""


def kind_of(model: nn.Module) -> SavedKind:
    """How an adapted model is saved; one that nothing was put into, and that is not read by its features, is whole."""
    import peft

    from tuneoff.models.bottleneck import has_bottlenecks
    from tuneoff.models.mean_pooled import MeanPooledClassifier

    if isinstance(model, peft.PeftModel):
        return "adapter"
    if has_bottlenecks(model):
        return "bottleneck"
    return "features" if isinstance(model, MeanPooledClassifier) else "whole"


@transformers_quiet()
def save_trained(
    model: nn.Module, folder: Path, source: Path, saved: SavedModel, weights: dict[str, torch.Tensor] | None = None
) -> int:
    """Writes a folder, whole or not at all: weights, configuration, tokenizer, and how they are loaded.

    Args:
        model: trained.
        folder: where; what it held before is gone.
        source: the folder that the pretrained model was loaded from.
        saved: what it is; hashes of files are filled in.
        weights: the trained tensors by name (all, where it is saved whole), where `model` holds only shares of them.

    Returns:
        Bytes of the weights.
    """
    pretrained = load_config(source, len(saved.texts.label_names))
    about_base = {
        "in_4_bits": stored_quantisation(pretrained) is not None,
        "is_encoder_decoder": bool(pretrained.is_encoder_decoder),
    }
    saved = saved.model_copy(update={"base": saved.base.model_copy(update=about_base)})
    with replacing_directory(folder) as new:
        config = _labelled(model, saved)
        if saved.kind in ("adapter", "bottleneck"):
            if saved.kind == "adapter":
                _save_adapter(model, new, saved, weights)
            else:
                _save_bottlenecks(model, new, weights)
            # What is stored in 4 bits is loaded as its configuration says; what is not, as it is asked for.
            (config if saved.base.in_4_bits else unquantised(config)).save_pretrained(new)
        elif saved.kind == "features":
            _save_head(model, new)
            config.save_pretrained(new)
        else:
            trained: Any = model
            trained.config = config
            trained.save_pretrained(new, state_dict=weights)
        if saved.quantised and saved.kind != "whole":
            write_json(new / QUANTISATION, stored_quantisation(config))
        _save_tokenizer(source, new, saved, config, architecture_of(pretrained).type_vocab_size > 1)
        describe_saved(new, saved)
        return sum(path.stat().st_size for path in new.glob("*.safetensors"))


def describe_saved(folder: Path, saved: SavedModel) -> SavedModel:
    """Writes what a folder of a saved model is, once its other files are there: README.md and tuneoff.json.

    Args:
        folder: of the model.
        saved: what it is; hashes of files are filled in.

    Returns:
        What was written to tuneoff.json.
    """
    (folder / "README.md").write_text(_read_me(saved), encoding="utf-8")
    files = sorted({path for pattern in LOADED for path in folder.glob(pattern) if path.name != SAVED_MODEL})
    described = saved.model_copy(update={"sha256": {path.name: file_hash(path) for path in files}})
    write_saved(folder, described)
    return described


def kind_of_labels(saved: SavedModel) -> LabelKind:
    """Of what kind the labels are that it gives."""
    return TASKS.named(saved.texts.task).kind


def title_of(saved: SavedModel) -> str:
    """What a model is called over its description."""
    method = METHODS.classes()[saved.method].title if saved.method in METHODS.classes() else saved.method
    own_name = f"{saved.arm}, " if saved.arm != saved.method else ""
    link = "of" if saved.method == "full" else "on"
    what = "text regression" if kind_of_labels(saved) == "number" else "text classification"
    return f"{saved.study}: {what} ({own_name}{method} {link} {saved.base.id.removeprefix('package:')})"


def write_saved(folder: Path, described: SavedModel) -> None:
    """Writes tuneoff.json of a folder whose files are those that were described."""
    write_json(folder / SAVED_MODEL, described.model_dump(mode="json"))


def number_note(rules: TextRules) -> str:
    """How the one logit of a model becomes the number that it predicts."""
    scale = rules.scale
    return (
        f"Its one logit is the number in standard deviations of the training examples: {rules.label_names[0]} = "
        f"{scale.mean:.9g} + {scale.deviation:.9g} * logit. `tuneoff predict` says the number itself."
    )


def answer_note(rules: TextRules) -> str | None:
    """How logits become answers, where thresholds decide; None where the most probable is the answer, or a number."""
    if not rules.thresholds:
        return None
    names = rules.label_names[1:] if len(rules.thresholds) == 1 else rules.label_names
    told = ", ".join(f"{name} {chance:.3g}" for name, chance in zip(names, rules.thresholds, strict=True))
    made = "softmax" if len(rules.thresholds) == 1 < len(rules.label_names) else "sigmoid"
    answered = f"; otherwise {rules.label_names[0]}" if made == "softmax" else ""
    return (
        f"Probabilities are the {made} of logits / {rules.temperature:.4g}, and answered is what is above its "
        f"threshold: {told}{answered}. Both were chosen on validation; `tuneoff predict` goes by them."
    )


def _labelled(model: Any, saved: SavedModel) -> Any:
    """The model's configuration, as it is to be loaded with: classes by name, and what kind of task they are."""
    config = copy.deepcopy(model.config)
    names = saved.texts.label_names
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.problem_type = TASKS.named(saved.texts.task).problem_type
    config.__dict__.pop("auto_map", None)  # of code that was not run, and need not be
    if saved.kind != "whole":
        config.dtype = "float32"  # that it is trained upon, whatever the base is stored in
    return config


def _save_adapter(model: Any, folder: Path, saved: SavedModel, weights: dict[str, torch.Tensor] | None) -> None:
    from tuneoff.models.virtual_embedding import encoded_rows

    adapted: peft.PeftModel = model
    base = adapted.get_base_model()
    name = base_name(saved.base)
    base.name_or_path = base.config.name_or_path = name
    tensors = adapted.state_dict() if weights is None else dict(weights)
    own = dict(adapted.peft_config)
    for adapter, config in own.items():
        if saved.virtual_tokens:
            encoded_rows(adapted, tensors, adapter)
        adapted.peft_config[adapter] = _from_the_base(adapted, adapter, config, tensors)
        adapted.peft_config[adapter].base_model_name_or_path = name
        adapted.peft_config[adapter].revision = saved.base.revision
    adapted.save_pretrained(str(folder), save_embedding_layers=False, state_dict=tensors)
    adapted.peft_config.update(own)
    if any(getattr(config, "bias", "none") != "none" for config in own.values()):
        _drop_copies(folder / "adapter_model.safetensors")


def _from_the_base(adapted: Any, adapter: str, config: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The configuration to save, and `tensors` with it, of LoRA that started as a part of the weights (PiSSA, OLoRA).

    As plain LoRA of twice the rank, what it has learned less what it started as, it belongs on the weights as they
    were: loading it otherwise means to decompose them again, and to find the very same factors.
    """
    import torch

    started = {name: module for name, module in adapted.named_modules() if hasattr(module, "start_A")}
    if not started:
        return config
    for name, module in started.items():
        down, up = (f"{name}.{factor}.{adapter}.weight" for factor in ("lora_A", "lora_B"))
        first, second = module.start_A.to(tensors[down]), module.start_B.to(tensors[up])
        tensors[down] = torch.cat([tensors[down], first])
        tensors[up] = torch.cat([tensors[up], -second], dim=1)
    plain = copy.deepcopy(config)
    plain.r, plain.lora_alpha, plain.init_lora_weights = 2 * config.r, 2 * config.lora_alpha, True
    return plain


def _drop_copies(path: Path) -> None:
    """Takes out of an adapter's file what peft saves twice where biases are trained: the head's, by its inner names."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    kept = {
        name: value
        for name, value in tensors.items()
        if ".modules_to_save." not in name and ".original_module." not in name
    }
    if len(kept) < len(tensors):
        save_file(kept, path, metadata={"format": "pt"})


def base_name(base: BaseModel) -> str:
    """What an adapter's configuration calls its base model."""
    return base.path or f"./{base.id}" if base.is_local else base.id


def _save_bottlenecks(model: nn.Module, folder: Path, weights: dict[str, torch.Tensor] | None) -> None:
    import torch
    from safetensors.torch import save_file

    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    tensors = model.state_dict() if weights is None else weights
    # In float32, as the base model is loaded, whatever they were trained in.
    kept = {name: tensors[name].detach().to("cpu", torch.float32).contiguous() for name in sorted(trained)}
    save_file(kept, folder / BOTTLENECKS, metadata={"format": "pt"})


def _save_head(model: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    head = {name: value.detach().cpu().contiguous() for name, value in model.own_head.named_parameters()}
    save_file(head, folder / HEAD)


def _save_tokenizer(source: Path, folder: Path, saved: SavedModel, config: Any, types: bool) -> None:
    """The tokenizer, which by itself cuts as the study did, pads, and tells pairs apart where the model does."""
    tokenizer = load_tokenizer(source)
    tokenizer.model_max_length = saved.texts.max_length
    tokenizer.padding_side = "right"
    tokenizer.truncation_side = "left" if saved.texts.long_texts == "tail" else "right"
    tokenizer.model_input_names = ["input_ids", *(["token_type_ids"] if types else []), "attention_mask"]
    for name in ("padding_side", "truncation_side", "model_input_names"):  # which are stored only where they were given
        tokenizer.init_kwargs[name] = getattr(tokenizer, name)
    tokenizer.init_kwargs.pop("auto_map", None)
    if saved.virtual_tokens and saved.kind == "adapter":  # a whole model is saved with a tokenizer that has them
        put_into_texts(tokenizer, ids_behind(config.get_text_config().vocab_size, saved.virtual_tokens))
    padding = config.get_text_config().pad_token_id  # by which decoders find a text's end, whatever the tokenizer says
    if padding != tokenizer.pad_token_id and padding in tokenizer.get_vocab().values():
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(padding)
    tokenizer.save_pretrained(folder)
    if saved.virtual_tokens:
        load_as_written(folder)


def _read_me(saved: SavedModel) -> str:
    base = saved.base.id + (f" at {saved.base.revision}" if saved.base.revision else "")
    where = f"\n\n`{BASE}` is the folder of the base model, {base}." if saved.needs_base else ""
    again = f", trained once more on {REFIT_WORDS[saved.refit]}" if saved.refit else ""
    gives = {"class": "classes", "labels": "labels", "number": "gives"}[kind_of_labels(saved)]
    note = number_note(saved.texts) if kind_of_labels(saved) == "number" else answer_note(saved.texts)
    scale = f"\n\n{note}" if note else ""
    return (
        f"# {title_of(saved)}\n\n"
        f"{saved.method} on {base}, seed {saved.seed}{again}; {gives}: {', '.join(saved.texts.label_names)}.\n\n"
        f"```python\n{loading_lines(saved, '.')}\n```{where}{scale}\n"
    )
