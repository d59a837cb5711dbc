"""Loading a pretrained transformer with a fresh classification head, in full precision or quantised."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core import hub
from tuneoff.core.errors import UserError
from tuneoff.core.files import expanded
from tuneoff.models.count import logical_size
from tuneoff.models.folder import checked_config, checked_folder
from tuneoff.models.guard import told_in_one_line
from tuneoff.models.head import draw_head, give_shapes, head_modules, in_backbone
from tuneoff.models.looking import architecture_of, bare_classifier
from tuneoff.models.quantised import (
    Quantisation,
    bitsandbytes_options,
    check_stored_precision,
    stored_quantisation,
    unquantised,
    with_stored_quantisation,
)
from tuneoff.models.quiet import transformers_quiet

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from tuneoff.models.architecture import Architecture

PACKAGE_PREFIX = "package:"
SIZES = {
    "num_hidden_layers": range(1, 1_000),
    "num_attention_heads": range(1, 100_000),
    "hidden_size": range(1, 10**6),
    "intermediate_size": range(1, 10**7),
    "vocab_size": range(1, 10**7),
    "max_position_embeddings": range(-1, 10**8),
}
"""What no model lies beyond: a damaged configuration would have something without end built."""


@dataclass(frozen=True)
class LoadedModel:
    """A sequence classifier before any method has changed it.

    Attributes:
        model: the classifier.
        architecture: what is known of it beside its code.
        head_modules: dotted names of its freshly initialised modules.
        parameters: logical size of all of it.
        head_parameters: logical size of those modules.
    """

    model: PreTrainedModel
    architecture: Architecture
    head_modules: tuple[str, ...]
    parameters: int
    head_parameters: int

    @classmethod
    def of(cls, model: PreTrainedModel, head_modules: tuple[str, ...]) -> LoadedModel:
        """Counts the parameters of `model` as it is now."""
        head = (logical_size(model.get_submodule(path).parameters()) for path in head_modules)
        architecture = architecture_of(model.config, model)
        return cls(model, architecture, head_modules, logical_size(model.parameters()), sum(head))


def resolve_model(model_id: str, revision: str | None = None) -> Path:
    """The local folder that holds a model.

    Args:
        model_id: a folder, `package:NAME` for weights inside an installed Python package, or a Hub id.
        revision: branch, tag or commit of a Hub model.

    Raises:
        UserError: where nothing usable is there.
    """
    if model_id.startswith(PACKAGE_PREFIX):
        return checked_folder(_package_folder(model_id.removeprefix(PACKAGE_PREFIX)), model_id)
    if is_hub_id(model_id):
        return checked_folder(hub.fetch_model(model_id, revision), model_id)
    return checked_folder(expanded(model_id), model_id)


def resolve_config(model_id: str) -> Path:
    """The local folder that holds a model's configuration; its weights are not fetched.

    Args:
        model_id: as for `resolve_model`.

    Raises:
        UserError: where there is none.
    """
    if model_id.startswith(PACKAGE_PREFIX):
        return _package_folder(model_id.removeprefix(PACKAGE_PREFIX))
    if is_hub_id(model_id):
        return checked_config(hub.fetch_config(model_id), model_id)
    return checked_config(expanded(model_id), model_id)


def is_hub_id(model_id: str) -> bool:
    """Whether a model is to be fetched from the Hub, rather than found in a package or a folder.

    Raises:
        UserError: where it looks like the path of a folder, and there is none.
    """
    if model_id.startswith(PACKAGE_PREFIX) or (folder := expanded(model_id)).is_dir():
        return False
    if folder.exists() or model_id.startswith((".", "/", "~")) or model_id.count("/") > 1:
        raise UserError(f"model.id: '{model_id}' is not a folder")
    return True


@transformers_quiet()
def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, with a padding token.

    Raises:
        UserError: where the folder has none that works.
    """
    from transformers import AutoTokenizer

    _read_config(folder)  # of which tokenizers make much, and whose errors would look as if they were theirs
    _check_ids(folder)
    what = f"model.id: '{folder}' has no usable tokenizer"
    if not (folder / "tokenizer.json").exists() and any(folder.glob("*.model")) and not _has_sentencepiece():
        what = (
            f"model.id: '{folder}' has a sentencepiece tokenizer alone (no tokenizer.json); "
            "`pip install 'tuneoff[sentencepiece]'` reads it"
        )
    with told_in_one_line(what):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if len(tokenizer.get_vocab()) <= len(tokenizer.all_special_tokens):
        # transformers 5 builds an empty vocabulary where the vocabulary's file is missing.
        raise UserError(f"model.id: '{folder}' has no vocabulary for its tokenizer (tokenizer.json or vocab.txt)")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"model.id: the tokenizer of '{folder}' has no token that pads texts and none that ends them; set "
            "pad_token in its tokenizer_config.json"
        )
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or not 1 <= longest < math.inf:
        raise UserError(
            f"model.id: the tokenizer_config.json of '{folder}' is damaged: model_max_length = {longest!r}, which is "
            "no number of tokens"
        )
    return tokenizer


def _check_ids(folder: Path) -> None:
    """Refuses a vocabulary with a token of an absurd number, for which tokenizers takes memory without end."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return
    with told_in_one_line(f"model.id: '{path}' is no tokenizer"):
        described = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = described["model"].get("vocab")
    numbers = vocabulary.values() if isinstance(vocabulary, dict) else ()
    highest = max((number for number in numbers if isinstance(number, int)), default=0)
    if highest > SIZES["vocab_size"][-1]:
        raise UserError(f"model.id: '{path}' is damaged: no model has a token {highest}")


@transformers_quiet()
def load_config(folder: Path, num_labels: int, pad_token_id: int | None = None) -> Any:
    """The model's configuration for `num_labels` classes.

    Raises:
        UserError: where the folder's configuration is unreadable or of an unknown architecture.
    """
    outputs = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}  # what is computed with
    config = _read_config(folder, num_labels=num_labels, **outputs)
    config.problem_type = "single_label_classification"
    for part in (config, config.get_text_config()):  # of a model for texts alone they are one
        if getattr(part, "pad_token_id", None) is None:
            part.pad_token_id = pad_token_id
    return config


def _read_config(folder: Path, **changes: Any) -> Any:
    from transformers import AutoConfig, PreTrainedConfig

    with told_in_one_line(f"model.id: '{folder}' has no usable config.json"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **changes)
        text = config.get_text_config()
    if not isinstance(text, PreTrainedConfig):
        raise UserError(f"model.id: the config.json of '{folder}' is damaged: its text_config describes no model")
    for name, known in SIZES.items():
        size = getattr(text, name, None)
        if isinstance(size, int) and size not in known:
            raise UserError(f"model.id: the config.json of '{folder}' is damaged: no model has {name} = {size}")
    return config


def longest_input(config: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """The most tokens a sequence may have, special tokens included."""
    limit = int(tokenizer.model_max_length)
    positions = architecture_of(config).longest_input
    return limit if positions is None else min(limit, positions)


def load_classifier(
    folder: Path, config: Any, seed: int, device: torch.device, quantisation: Quantisation | None = None
) -> LoadedModel:
    """Loads the pretrained weights and draws a new head (`tuneoff.models.head`) that depends on `seed` alone.

    Args:
        folder: a model folder.
        config: from `load_config`.
        seed: seeds the head, on the CPU, so that it is the same for every method and device.
        device: where the model is put.
        quantisation: how the backbone's linear layers are stored; the head keeps float32.

    Raises:
        UserError: where the weights cannot be read as this architecture's.
    """
    import torch

    check_stored_precision(config, None if quantisation is None else quantisation.kind)
    if quantisation is None:
        model, info = _from_pretrained(folder, config, dtype=torch.float32)
        head = _head(model, info, folder)
        model.to(device)
    else:
        head = _head_of_checkpoint(folder, config)  # the loader has to know beforehand what it must not quantise
        model = _load_quantised(folder, config, device, quantisation, head)
        give_shapes(model, head, unquantised(config))
    draw_head(model, head, seed)
    return LoadedModel.of(model, head)


def load_whole(folder: Path, config: Any, device: torch.device) -> LoadedModel:
    """Loads a classifier whose head is trained already, in float32.

    Args:
        folder: of the classifier.
        config: from `load_config`, with its number of classes.
        device: where the model is put.

    Raises:
        UserError: where a tensor is missing, or of another shape.
    """
    import torch

    model, info = _from_pretrained(folder, config, dtype=torch.float32)
    unfit = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    if unfit:
        raise UserError(f"the weights in '{folder}' are not all there, or of another number of classes ({unfit[0]})")
    model.to(device)
    return LoadedModel.of(model, head_modules(model))


def _load_quantised(
    folder: Path, config: Any, device: torch.device, quantisation: Quantisation, head: tuple[str, ...]
) -> PreTrainedModel:
    import torch
    from transformers import BitsAndBytesConfig

    options: dict[str, Any] = {"dtype": torch.float32, "device_map": {"": str(device)}}
    if stored_quantisation(config) is not None:
        model, _ = _from_pretrained(
            folder, with_stored_quantisation(config, quantisation.compute_dtype, head), **options
        )
        _keep_differentiable(model)
        return model
    asked = BitsAndBytesConfig(**bitsandbytes_options(quantisation, head))
    model, _ = _from_pretrained(folder, config, quantization_config=asked, **options)
    _keep_differentiable(model)
    return model


@transformers_quiet()
def outline(config: Any, folder: Path | None = None) -> LoadedModel:
    """The classifier on the meta device: shapes and names, no memory.

    Args:
        config: the model's configuration.
        folder: where given, what this checkpoint lacks of the backbone is of the head as well.
    """
    model = bare_classifier(unquantised(config))
    return LoadedModel.of(model, _head_of_checkpoint(folder, config) if folder else head_modules(model))


def _head_of_checkpoint(folder: Path, config: Any) -> tuple[str, ...]:
    model, info = _from_pretrained(folder, unquantised(config), device_map="meta")
    if stored_quantisation(config) is not None:
        info["mismatched_keys"] = set()  # packed weights have other shapes
    return _head(model, info, folder)


def _head(model: PreTrainedModel, info: dict[str, Any], folder: Path) -> tuple[str, ...]:
    """The head's modules, by what the loader reports of a checkpoint."""
    backbone = {name for name, _ in model.named_parameters() if in_backbone(model, name)}
    for name, stored, wanted in sorted(info["mismatched_keys"]):
        if name in backbone:
            raise UserError(
                f"model.id: the weights in '{folder}' do not fit its config.json ({name} has the shape "
                f"{tuple(stored)}, and would need {tuple(wanted)})"
            )
    missing = set(info["missing_keys"]) | {key for key, *_ in info["mismatched_keys"]}
    blocks = f"{model.base_model_prefix}.{architecture_of(model.config, model).blocks}."
    lost = sorted(name for name in missing & backbone if name.startswith(blocks))
    if lost and len(missing & backbone) <= len(backbone) // 2:
        raise UserError(f"model.id: the weights in '{folder}' do not fit its config.json ({lost[0]} is missing)")
    if len(missing & backbone) > len(backbone) // 2:
        raise UserError(
            f"model.id: the weights in '{folder}' do not fit its config.json "
            f"({len(missing & backbone)} of {len(backbone)} backbone tensors are missing)"
        )
    return head_modules(model, missing)


@transformers_quiet()
def _from_pretrained(folder: Path, config: Any, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    from transformers import AutoModelForSequenceClassification

    with told_in_one_line(f"model.id: no weights could be loaded from '{folder}'"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of how a file was pickled
        return AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=copy.deepcopy(config),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            weights_only=True,  # a pickle may hold tensors and nothing else
            **options,
        )


def _keep_differentiable(model: PreTrainedModel) -> None:
    """Stops bitsandbytes from repacking 4-bit weights for the CPU when a model is evaluated.

    The repacked weights have no backward pass, and they stay repacked when training goes on, so that
    layers below would silently receive no gradient.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _package_folder(package: str) -> Path:
    try:
        spec = importlib.util.find_spec(package.replace("-", "_"))
    except (ImportError, ValueError) as error:  # of a dotted name, it imports what is before the dot
        raise UserError(f"model.id: '{PACKAGE_PREFIX}{package}' names no package; write package:NAME") from error
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"model.id: the package '{package}' is not installed; `pip install {package}` brings it")
    root = Path(next(iter(spec.submodule_search_locations)))
    folders = sorted(path.parent for path in root.rglob("model.safetensors"))
    if not folders:
        raise UserError(f"model.id: the package '{package}' holds no model.safetensors")
    return folders[0]


def _has_sentencepiece() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("sentencepiece", "google.protobuf"))
