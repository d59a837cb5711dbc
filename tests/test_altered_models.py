"""Saved models that are not as they were saved: refused in one line; and a base model that is elsewhere is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from saving import MAX_LENGTH, TEXTS, train_and_save
from tiny_models import FITTING, model_folder
from tuneoff.core.errors import UserError
from tuneoff.core.files import file_hash
from tuneoff.serving.predictor import ONLY, Predictor


def resealed(folder: Path) -> None:
    """Gives `tuneoff.json` the hashes of the files as they are now."""
    path = folder / "tuneoff.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved["sha256"] = {name: file_hash(folder / name) for name in saved["sha256"] if (folder / name).exists()}
    path.write_text(json.dumps(saved), encoding="utf-8")


def without_head(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: value for name, value in weights.items() if "classifier" not in name},
              folder / "adapter_model.safetensors")  # fmt: skip
    resealed(folder)


def head_not_asked_for(folder: Path) -> None:
    edited(folder, "adapter_config.json", modules_to_save=None)


def edited(folder: Path, file: str, **fields: Any) -> None:
    content = json.loads((folder / file).read_text(encoding="utf-8")) | fields
    (folder / file).write_text(json.dumps(content), encoding="utf-8")
    if file != "tuneoff.json":
        resealed(folder)


def said_of_labels(*names: str) -> Callable[[Path], None]:
    return lambda folder: edited(
        folder, "tuneoff.json", texts={"label_names": names, "max_length": MAX_LENGTH, "text": None, "text_pair": None}
    )


def of_labels(*names: str) -> Callable[[Path], None]:
    """Of other classes in all files but the weights."""

    def change(folder: Path) -> None:
        edited(folder, "config.json", id2label=dict(enumerate(names)), label2id={})
        said_of_labels(*names)(folder)

    return change


def cut(name: str, seal: bool = False) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        if seal:
            resealed(folder)

    return damage


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    torch.save({}, folder / "adapter_model.bin")
    resealed(folder)


def emptied(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text("[]")
        resealed(folder)

    return damage


def renamed(folder: Path, part: str, other: str) -> None:
    tensors = load_file(folder / "bottlenecks.safetensors")
    save_file({name.replace(part, other): value for name, value in tensors.items()}, folder / "bottlenecks.safetensors")
    resealed(folder)


def without(name: str, seal: bool = False) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        if seal:
            resealed(folder)

    return damage


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "tampered": ("lora", lambda folder: (folder / "config.json").write_text("{}"), "config.json' is not as it was"),
    "truncated": ("lora", cut("adapter_model.safetensors"), "adapter_model.safetensors' is not as it was saved"),
    "truncated adapter": ("lora", cut("adapter_model.safetensors", seal=True), "are damaged"),
    "truncated head": ("frozen_features", cut("head.safetensors", seal=True), "are damaged"),
    "truncated bottlenecks": ("houlsby", cut("bottlenecks.safetensors", seal=True), "are damaged"),
    "other labels, bottlenecks": ("houlsby", of_labels("a", "b", "c"), "another number of classes"),
    "a lost bottleneck": ("houlsby", lambda folder: renamed(folder, "up.bias", "up.other"), "do not fit its"),
    "bottlenecks of another model": ("houlsby", lambda folder: renamed(folder, "bert.", "other."), "do not fit its"),
    "other virtual tokens": (
        "prompt_tuning", lambda folder: edited(folder, "tuneoff.json", virtual_tokens=4), "virtual tokens in",
    ),
    "a word for a virtual token": (
        "prompt_tuning",
        lambda folder: edited(
            folder, "adapter_config.json",
            trainable_token_indices={"bert.embeddings.word_embeddings": [60, 61, 7]},
        ),
        "virtual tokens in",
    ),
    "truncated model": ("full", cut("model.safetensors", seal=True), "no weights could be loaded"),
    "a pickle alone": ("lora", pickled, "adapter_model.bin is a pickle, which tuneoff never loads"),
    "classes the other way round": ("lora", said_of_labels("b", "a"), "names other classes in tuneoff.json than in"),
    "no such quantization": (
        "lora", lambda folder: edited(folder, "tuneoff.json", quantization="zz"), "unknown quantization 'zz'",
    ),
    "virtual tokens of no prompt": (
        "houlsby", lambda folder: edited(folder, "tuneoff.json", virtual_tokens=5), "what cannot be",
    ),
    "no description": ("lora", without("tuneoff.json"), "no model that tuneoff saved"),
    "a damaged description": ("lora", cut("tuneoff.json"), "cannot be read"),
    "a later version": ("lora", lambda folder: edited(folder, "tuneoff.json", schema_version=9), "another version"),
    "no weights": ("full", without("model.safetensors"), "lacks model.safetensors"),
    "no head": ("lora", without_head, "does not hold the trained head"),
    "a head not asked for": ("lora", head_not_asked_for, "does not hold the trained head (classifier)"),
    "other labels, adapter": ("lora", of_labels("a", "b", "c"), "another number of classes"),
    "other labels, whole": ("full", of_labels("a", "b", "c"), "another number of classes"),
    "other labels, features": ("frozen_features", of_labels("a", "b", "c"), "number of classes"),
    "settings that are no JSON": ("lora", cut("config.json", seal=True), "config.json' cannot be read"),
    "settings that are none": ("lora", emptied("tokenizer_config.json"), "holds no settings"),
    "an adapter of another kind": (
        "lora",
        lambda folder: edited(folder, "adapter_config.json", peft_type="NEW"),
        "adapter_config.json' describes no adapter",
    ),
    "an adapter of no rank": ("lora", lambda folder: edited(folder, "adapter_config.json", r="x"), "does not fit"),
    "classes of one name": ("lora", of_labels("a", "a"), "is damaged"),
    "no classes": ("lora", of_labels(), "is damaged"),
    "code": ("full", lambda folder: edited(folder, "config.json", auto_map={"AutoModel": "x.Y"}), "never runs"),
    "code of a tokenizer": (
        "lora", lambda folder: edited(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}),
        "never runs",
    ),
    "no tokenizer": ("lora", without("tokenizer.json"), "lacks tokenizer.json"),
    "no tokenizer at all": ("lora", without("tokenizer_config.json", seal=True), "lacks tokenizer_config.json"),
    "no vocabulary": ("lora", without("tokenizer.json", seal=True), "tokenizer"),
    "a base elsewhere": (
        "lora", lambda folder: edited(folder, "tuneoff.json", base={"id": "tiny", "fingerprint": "", "path": "../no"}),
        "which is not where it was; name it with --base",
    ),
    "a base of another content": (
        "lora",
        lambda folder: edited(folder, "tuneoff.json", base={"id": "b", "fingerprint": "0", "path": "../../base"}),
        "is not the one that",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole_ones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    model_folder("bert", folder / "base", pad_token_id=0)
    for method in ("full", "lora", "houlsby", "prompt_tuning", "frozen_features"):
        options = FITTING.get(method, {})
        train_and_save(folder / "base", method, ["bad", "good"], folder / "saved" / method, **options)
    return folder


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_not_as_it_was_saved_is_refused(what: str, whole_ones: Path) -> None:
    method, damage, said = DAMAGE[what]
    folder = whole_ones / "damaged" / what.replace(" ", "-")
    shutil.copytree(whole_ones / "saved" / method, folder)
    assert Predictor({ONLY: folder}, device="cpu").predict(TEXTS[:1])
    damage(folder)
    with pytest.raises(UserError) as refused:
        Predictor({ONLY: folder}, device="cpu").predict(TEXTS[:1])
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_base_model_that_is_named(whole_ones: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(whole_ones / "saved" / "lora", tmp_path / "moved")
    with pytest.raises(UserError, match="name it with --base"):
        Predictor({ONLY: moved}, device="cpu")
    there = Predictor({ONLY: whole_ones / "saved" / "lora"}, device="cpu").logits(TEXTS)
    named = Predictor({ONLY: moved}, base=str(whole_ones / "base"), device="cpu")
    np.testing.assert_array_equal(named.logits(TEXTS), there)
    other = model_folder("bert", tmp_path / "other", pad_token_id=0, hidden_size=64)
    with pytest.raises(UserError, match="is not the one that"):
        Predictor({ONLY: moved}, base=str(other), device="cpu")
    with pytest.raises(UserError, match="takes no base model"):
        Predictor({ONLY: whole_ones / "saved" / "full"}, base=str(other), device="cpu")
