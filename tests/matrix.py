"""One cell of the matrix: a method on an architecture, trained, saved and loaded through the real engine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from plainly import plain_answers_of
from saving import CPU, MAX_LENGTH, TEXTS, Saved, names_of, tokenised, virtual_ids
from stored import saved_model
from tiny_models import FITTING, model_folder
from tuneoff.core.errors import UserError
from tuneoff.data.tokens import Tokens
from tuneoff.models.architecture import Padding
from tuneoff.models.fingerprint import stamp_folder
from tuneoff.models.load import LoadedModel, load_classifier, load_config, load_tokenizer
from tuneoff.models.quantised import quantisation_of
from tuneoff.models.save import kind_of, save_trained
from tuneoff.records.saved_model import BaseModel, TextRules
from tuneoff.serving.predictor import ONLY, Predictor
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.engines.padded import padded_inputs

CLASSES = 3
STEPS = 8
EXACT = 1e-5
UNREAD = {
    "big_bird": re.compile(r"bert\.pooler"),
    "esm": re.compile(r"contact_head"),
    "roformer": re.compile(r"embed_positions"),
    "xlnet": re.compile(r"mask_emb|seg_embed|r_s_bias"),
    "longformer": re.compile(r"layer\.1\.attention\.self\.(query|key|value)\.|tinylora_v\.default\.[45]$"),
}
"""Weights that no logit depends on: a pooler's that is not read, fixed positions, the last block's local attention,
what tells segments apart where there is one, a head of another task."""
MERGED = 1e-4


@dataclass
class Cell:
    """What was found of a method on an architecture; each failure has the name of what failed, and how."""

    kind: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    merges: bool | None = None
    pads: bool = True
    """Whether padding changes nothing, as its architecture's record says."""
    saved: Saved | None = None
    texts: list[str] = field(default_factory=list)


def source_of(kind: str, folder: Path) -> Path:
    """A pretrained model of an architecture, made once for each folder."""
    source = folder / f"{kind.replace(' ', '-')}-base"
    if not source.exists():
        model_folder(kind, source, pad_token_id=0, eos_token_id=3)
        _move_off_zero(source)
    return source


def _move_off_zero(source: Path) -> None:
    """Gives biases and gains values as pretrained models have them: at zero some methods could train nothing."""
    draw = torch.Generator().manual_seed(1)
    tensors = load_file(source / "model.safetensors")
    moved = {
        name: value + 0.05 * torch.randn(value.shape, generator=draw)
        if value.dim() == 1 and value.is_floating_point()
        else value
        for name, value in tensors.items()
    }
    save_file(moved, source / "model.safetensors", metadata={"format": "pt"})


def arm_of(method: str, **options: Any) -> ArmSpec:
    return METHODS.classes()[method].model_validate({"method": method, **options})


def adapted(arm: ArmSpec, source: Path, precision: torch.dtype = torch.float32) -> tuple[Any, LoadedModel]:
    pad = load_tokenizer(source).pad_token_id
    loaded = load_classifier(
        source, load_config(source, CLASSES, pad), 0, CPU, quantisation_of(arm.quantization, precision)
    )
    torch.manual_seed(0)
    model = arm.adapt(loaded)
    if arm.reads_texts:
        tokens = tokenised(load_tokenizer(source), texts_for(loaded), CLASSES)
        arm.start(model, [padded_inputs(tokens, np.arange(len(tokens)), loaded.architecture)] * 2)
    return model, loaded


def verify(kind: str, method: str, folder: Path, **options: Any) -> Cell:
    """Trains a cell's model for a few steps, looks at what has moved, and saves it; `reload` does the rest.

    Args:
        kind: an architecture of `tiny_models`.
        method: name of a method that is trained in steps.
        folder: where its pretrained model is or will be, and its saved one goes.
        options: of the arm.
    """
    cell = Cell(kind, method, options)
    source = source_of(kind, folder)
    arm = arm_of(method, **FITTING.get(method, {}), **options)
    try:
        model, loaded = adapted(arm, source)
    except UserError as error:
        cell.failures["builds"] = str(error)
        return cell
    cell.pads = loaded.architecture.padding is Padding.RIGHT
    texts = cell.texts = texts_for(loaded)
    tokens = tokenised(load_tokenizer(source), texts, CLASSES, virtual_ids(arm, loaded.architecture.config))
    # Rates are for models of some width: a tiny one may want less.
    for rate in (arm.starting_rate or 1e-3, (arm.starting_rate or 1e-3) / 10):
        model, loaded = adapted(arm, source)
        before = {name: value.detach().clone() for name, value in _tensors(model).items()}
        engine, losses = _trained(model, loaded, arm, tokens, rate)
        if losses[1] < losses[0]:
            break
    else:
        cell.failures["loss falls"] = f"{losses[0]:.4f} before, {losses[1]:.4f} after"
    _look_at_what_moved(cell, model, loaded, before)
    _compare_checkpointing(cell, arm, source, tokens)
    cell.saved = _save(
        cell,
        model,
        loaded,
        arm,
        source,
        folder / "-".join([kind, method, *map(str, options.values())]).replace(" ", "-"),
        engine,
        tokens,
    )
    return cell


def _trained(
    model: Any, loaded: LoadedModel, arm: ArmSpec, tokens: Tokens, rate: float
) -> tuple[Engine, tuple[float, float]]:
    """An engine after a few steps, and the losses before and after these."""
    engine = make_engine(model, loaded, TrainingSpec(batch_size=len(tokens)), CPU, torch.float32, arm=arm)
    first = _loss(engine, tokens)
    rows = np.arange(len(tokens))
    engine.prepare(tokens, [rows] * STEPS)
    list(engine.steps(tokens, [(rows, rate)] * STEPS))
    return engine, (first, _loss(engine, tokens))


def answers_in_bfloat16(
    kind: str, method: str, folder: Path, **options: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a model says after two steps in bfloat16, and what it says saved and loaded."""
    source = source_of(kind, folder)
    arm = arm_of(method, **FITTING.get(method, {}), **options)
    model, loaded = adapted(arm, source, torch.bfloat16)
    texts = texts_for(loaded)
    tokens = tokenised(load_tokenizer(source), texts, CLASSES, virtual_ids(arm, loaded.architecture.config))
    engine = make_engine(model, loaded, TrainingSpec(batch_size=len(tokens)), CPU, torch.bfloat16, arm=arm)
    rows = np.arange(len(tokens))
    engine.prepare(tokens, [rows] * 2)
    list(engine.steps(tokens, [(rows, 1e-3)] * 2))
    name = "-".join([kind, method, "bfloat16", *map(str, options.values())]).replace(" ", "-")
    saved = _save(Cell(kind, method), model, loaded, arm, source, folder / name, engine, tokens)
    return saved.logits, Predictor({ONLY: saved.folder}, device="cpu", precision="bf16").logits(texts)


def reload(cells: list[Cell]) -> None:
    """Loads the saved models with plain libraries in one fresh process, and merges those whose method can be merged."""
    saved = [cell for cell in cells if cell.saved is not None]
    plain = plain_answers_of((cell.saved.folder, cell.texts) for cell in saved if cell.saved)
    for cell, answers in zip(saved, plain, strict=True):
        assert cell.saved is not None
        for name, logits in (("alone", answers.alone), ("padded", answers.padded)):
            if name == "padded" and not cell.pads:
                continue
            worst = float(np.abs(logits - cell.saved.logits).max())
            if not worst <= EXACT * max(1.0, float(np.abs(logits).max())):
                cell.failures[f"loads, {name}"] = f"logits differ by {worst:.1e}"
        _merge(cell)


def texts_for(loaded: LoadedModel) -> list[str]:
    """Texts that can be one batch of padded rows with plain transformers."""
    ends = loaded.architecture.padding is Padding.EQUAL_ENDS
    return [text for text in TEXTS if not ends or "[SEP]" not in text]


def _tensors(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if "original_module" not in name}


def _loss(engine: Engine, tokens: Tokens) -> float:
    logits = torch.from_numpy(engine.logits(tokens))
    return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(tokens.labels)))


def _look_at_what_moved(cell: Cell, model: Any, loaded: LoadedModel, before: dict[str, torch.Tensor]) -> None:
    moved = {name for name, value in _tensors(model).items() if not torch.equal(value, before[name])}
    trained = {name for name, value in _tensors(model).items() if value.requires_grad}
    # Biases of keys cancel inside the softmax; AdaLoRA may leave a layer without ranks.
    at_rest = ("key.bias", "k_proj.bias", "k_lin.bias", "lora_E.default")
    unread = UNREAD.get(cell.kind)
    still = {
        name
        for name in trained - moved
        if not name.endswith(at_rest) and not (unread is not None and unread.search(name))
    }
    if still:
        cell.failures["all that is trained moves"] = f"{min(still)} and {len(still) - 1} more do not"
    if moved - trained:
        cell.failures["the rest is frozen"] = f"{min(moved - trained)} moved"
    for head in loaded.head_modules:
        inside = [value for name, value in _tensors(model).items() if f"{head}." in name and value.is_floating_point()]
        if not inside or not any(value.requires_grad for value in inside):
            cell.failures["the head is trained"] = head


def _compare_checkpointing(cell: Cell, arm: ArmSpec, source: Path, tokens: Tokens) -> None:
    found = []
    for checkpointing in (False, True):
        model, loaded = adapted(arm, source)
        training = TrainingSpec(batch_size=len(tokens), gradient_checkpointing=checkpointing)
        try:
            engine = make_engine(model, loaded, training, CPU, torch.float32, arm=arm)
            model.train()
            engine._accumulate(tokens, np.arange(len(tokens)), len(tokens))
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            cell.failures["checkpointing"] = str(error).strip().splitlines()[0]
            return
        found.append({name: value.grad for name, value in _tensors(model).items() if value.requires_grad})
    without, with_it = found
    for name, gradient in without.items():
        other = with_it[name]
        if (gradient is None) != (other is None):
            cell.failures["checkpointing"] = f"{name} has a gradient only {'without' if other is None else 'with'} it"
            return
        if gradient is not None and other is not None and not torch.allclose(gradient, other, rtol=1e-3, atol=1e-5):
            cell.failures["checkpointing"] = f"the gradient of {name} differs"
            return


def _save(
    cell: Cell, model: Any, loaded: LoadedModel, arm: ArmSpec, source: Path, to: Path, engine: Engine, tokens: Tokens
) -> Saved:
    labels = tuple(names_of(CLASSES))
    saved = saved_model(
        kind_of(model),
        labels,
        method=cell.method,
        quantization=arm.quantization,
        virtual_tokens=arm.virtual_tokens,
        texts=TextRules(label_names=labels, max_length=MAX_LENGTH + arm.virtual_tokens),
        base=BaseModel(id=source.name, fingerprint=stamp_folder(source).fingerprint, path=f"../{source.name}"),
    )
    save_trained(model, to, source, saved)
    return Saved(to, engine.logits(tokens))


def _merge(cell: Cell) -> None:
    from tuneoff.export.whole import _merged
    from tuneoff.models.load_saved import load_saved
    from tuneoff.models.saved import SavedFolder

    assert cell.saved is not None
    opened = SavedFolder.open(cell.saved.folder)
    if opened.saved.kind != "adapter" or opened.saved.quantised:
        return
    classifier = load_saved(opened, opened.base_folder(), CPU, torch.float32)
    inputs = classifier.tokenizer(TEXTS[0], return_tensors="pt")
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        expected = classifier.model(**inputs).logits
        try:
            merged = _merged(classifier.model)
        except (NotImplementedError, ValueError, AttributeError, RuntimeError) as error:
            cell.merges = False
            cell.failures["merges"] = str(error).strip().splitlines()[0]
            return
        worst = float((merged(**inputs).logits - expected).abs().max())
    cell.merges = worst <= MERGED
    if not cell.merges:
        cell.failures["merges"] = f"logits differ by {worst:.1e}"
