"""What a run saves, loaded with plain transformers and peft by its own recipe: every method on every architecture."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, processors

from plainly import Plain, plain_answers, plain_answers_of
from saving import PAIRS, TEXTS, Case, Saved, names_of, train_and_save
from tiny_models import model_folder
from tuneoff.models.saved import SavedFolder
from tuneoff.serving.predictor import ONLY, Predictor

KINDS = (
    "bert", "roberta", "electra", "distilbert", "albert", "deberta-v2", "modernbert", "mpnet", "llama", "qwen3", "gpt2",
)  # fmt: skip
MATRIX_METHODS = ("full", "lora", "qlora", "ia3", "head_only", "frozen_features")
EXACT = 1e-5


def assert_same(saved: Saved, plain: Plain, texts: Any = TEXTS) -> None:
    """The saved model gives what it gave before, to plain libraries and to the predictor."""
    np.testing.assert_allclose(plain.alone, saved.logits, rtol=0, atol=EXACT)
    np.testing.assert_allclose(plain.padded, saved.logits, rtol=0, atol=EXACT)
    assert np.ptp(saved.logits, axis=0).max() > 1e-3, "the texts must differ for this to mean anything"
    predicted = Predictor({ONLY: saved.folder}, device="cpu", precision="fp32").logits(texts)
    np.testing.assert_allclose(predicted, saved.logits, rtol=0, atol=EXACT)


def make(cases: Iterable[Case], folder: Path) -> dict[Case, tuple[Saved, Plain]]:
    """Trains, saves and loads anew each of some cases; all are loaded in one fresh process."""
    made: dict[Case, Saved] = {}
    for case in cases:
        source = folder / case.kind
        if not source.exists():
            model_folder(case.kind, source, pad_token_id=0, eos_token_id=3)
        made[case] = train_and_save(
            source, case.method, names_of(case.classes), folder / f"{case.kind}-{case.method}-{case.classes}"
        )
    plain = plain_answers([saved.folder for saved in made.values()], TEXTS)
    return dict(zip(made, zip(made.values(), plain, strict=True), strict=True))


DIAGONAL = [
    Case(kind, MATRIX_METHODS[number % len(MATRIX_METHODS)], (2, 6)[number % 2]) for number, kind in enumerate(KINDS)
]
REST = [
    case
    for kind in KINDS
    for method in MATRIX_METHODS
    for classes in (2, 6)
    if (case := Case(kind, method, classes)) not in DIAGONAL
]


@pytest.fixture(scope="module")
def diagonal(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, tuple[Saved, Plain]]:
    return make(DIAGONAL, tmp_path_factory.mktemp("diagonal"))


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, tuple[Saved, Plain]]:
    return make(REST, tmp_path_factory.mktemp("rest"))


@pytest.mark.parametrize("case", DIAGONAL, ids=lambda case: "-".join(map(str, case)))
def test_a_method_on_each_architecture(case: Case, diagonal: dict[Case, tuple[Saved, Plain]]) -> None:
    saved, plain = diagonal[case]
    assert_same(saved, plain)
    assert plain.labels == names_of(case.classes)


@pytest.mark.wide
@pytest.mark.parametrize("case", REST, ids=lambda case: "-".join(map(str, case)))
def test_every_method_on_every_architecture(case: Case, rest: dict[Case, tuple[Saved, Plain]]) -> None:
    saved, plain = rest[case]
    assert_same(saved, plain)
    assert plain.labels == names_of(case.classes)


# What people have that is not as usual.


ODD_NAMES = ["5 stars", "very bad!", "42", "Größe", "日本語", "a/b", 'it\'s "so"', *(f"class {n}" for n in range(93))]


def changed(source: Path, folder: Path, file: str, **fields: Any) -> Path:
    """A copy of a model folder with some fields of one of its JSON files as given; those that are None are left out."""
    shutil.copytree(source, folder)
    content = json.loads((folder / file).read_text(encoding="utf-8")) | fields
    kept = {name: value for name, value in content.items() if value is not None}
    (folder / file).write_text(json.dumps(kept), encoding="utf-8")
    return folder


def with_a_classifier(source: Path, folder: Path) -> Path:
    """A base model that brings a classifier of five classes."""
    from transformers import AutoModelForSequenceClassification

    shutil.copytree(source, folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(source, num_labels=5)
    model.save_pretrained(folder)
    return folder


def in_bfloat16(source: Path, folder: Path) -> Path:
    """A base model whose weights are stored in bfloat16."""
    from transformers import AutoModel

    shutil.copytree(source, folder)
    model: Any = AutoModel.from_pretrained(source, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return folder


def in_4_bits(source: Path, folder: Path) -> Path:
    """A base model whose weights are stored in 4 bits by bitsandbytes."""
    from transformers import AutoModel, BitsAndBytesConfig

    shutil.copytree(source, folder)
    quantisation = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model: Any = AutoModel.from_pretrained(source, quantization_config=quantisation, dtype=torch.float32)
    model.save_pretrained(folder)
    return folder


def that_cuts_by_itself(source: Path, folder: Path) -> Path:
    """A tokenizer that is stored with a length to cut at and to pad to."""
    shutil.copytree(source, folder)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(8)
    backend.enable_padding(length=16)
    backend.save(str(folder / "tokenizer.json"))
    return folder


def odd_cases(folder: Path) -> dict[str, tuple[Saved, Any]]:
    bert, wide = (model_folder("bert", folder / name, pad_token_id=0, **size) for name, size in
                  (("bert", {}), ("wide", {"hidden_size": 64})))  # fmt: skip
    roberta = model_folder("roberta", folder / "roberta", pad_token_id=0, type_vocab_size=1)
    llama = model_folder("llama", folder / "llama", pad_token_id=None, eos_token_id=3)
    tokens = "tokenizer_config.json"
    no_pad = changed(llama, folder / "no-pad", tokens, pad_token=None, eos_token="[SEP]")
    left = changed(llama, folder / "left", tokens, padding_side="left", truncation_side="left")
    asked: dict[str, tuple[Path, str, list[str], Any]] = {
        "another classifier": (with_a_classifier(bert, folder / "classifier"), "lora", names_of(6), TEXTS),
        "stored in bfloat16": (in_bfloat16(bert, folder / "bfloat16"), "ia3", names_of(2), TEXTS),
        "features in bfloat16": (folder / "bfloat16", "frozen_features", names_of(2), TEXTS),
        "in bfloat16, quantised": (folder / "bfloat16", "qlora", names_of(2), TEXTS),
        "stored in 4 bits": (in_4_bits(wide, folder / "4-bits"), "qlora", names_of(3), TEXTS),
        "pairs": (bert, "full", names_of(2), PAIRS),
        "pairs without types": (roberta, "lora", names_of(2), PAIRS),
        "pairs, features": (bert, "frozen_features", names_of(2), PAIRS),
        "no pad token": (no_pad, "lora", names_of(6), TEXTS),
        "on the left": (left, "head_only", names_of(2), TEXTS),
        "another pad token": (model_folder("llama", folder / "pads"), "lora", names_of(2), TEXTS),
        "cuts by itself": (that_cuts_by_itself(bert, folder / "cuts"), "head_only", names_of(2), TEXTS),
        "two stacks": (model_folder("t5", folder / "t5", pad_token_id=0), "frozen_features", names_of(3), TEXTS),
        "a hundred classes": (bert, "lora", ODD_NAMES, TEXTS),
        "odd names of features": (bert, "frozen_features", ODD_NAMES[:7], TEXTS),
        "odd names, whole": (roberta, "full", ODD_NAMES[:7], TEXTS),
    }
    return {
        name: (train_and_save(source, method, labels, folder / "saved" / name, texts), texts)
        for name, (source, method, labels, texts) in asked.items()
    }


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Saved, Plain, Any]]:
    made = odd_cases(tmp_path_factory.mktemp("odd"))
    plain = plain_answers_of([(saved.folder, texts) for saved, texts in made.values()])
    return {name: (saved, one, texts) for (name, (saved, texts)), one in zip(made.items(), plain, strict=True)}


@pytest.mark.long
def test_what_is_not_as_usual(odd: dict[str, tuple[Saved, Plain, Any]], subtests: pytest.Subtests) -> None:
    for name, (saved, plain, texts) in odd.items():
        with subtests.test(name):
            assert_same(saved, plain, texts)
            assert tuple(plain.labels) == SavedFolder.open(saved.folder).saved.texts.label_names
    assert odd["a hundred classes"][1].labels == ODD_NAMES


@pytest.mark.long
@pytest.mark.parametrize(("method", "texts"), [("full", PAIRS), ("lora", PAIRS), ("frozen_features", TEXTS)])
def test_a_first_token_of_its_own_type_and_fewer_states_than_tokens(method: str, texts: Any, tmp_path: Path) -> None:
    source = model_folder("funnel", tmp_path / "funnel", pad_token_id=0, type_vocab_size=3)
    backend = Tokenizer.from_file(str(source / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:2 $A [SEP]", pair="[CLS]:2 $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.save(str(source / "tokenizer.json"))
    saved = train_and_save(source, method, names_of(3), tmp_path / "saved", texts)
    (plain,) = plain_answers([saved.folder], texts)
    np.testing.assert_allclose(plain.alone, saved.logits, rtol=0, atol=EXACT)
    predicted = Predictor({ONLY: saved.folder}, device="cpu", precision="fp32").logits(texts)
    np.testing.assert_allclose(predicted, saved.logits, rtol=0, atol=EXACT)


def test_nothing_saved_tells_of_the_machine(
    diagonal: dict[Case, tuple[Saved, Plain]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    told = [os.fsencode(path) for path in (tmp_path_factory.getbasetemp(), Path.home(), Path(sys.prefix))]
    files = [path for saved, _ in diagonal.values() for path in saved.folder.iterdir()]
    assert len(files) > 60
    assert [path for path in files if any(of_machine in path.read_bytes() for of_machine in told)] == []
