"""What a run saves, loaded with plain transformers and peft by its own recipe: every method on every architecture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from conftest import NEGATIVE, NEUTRAL, POSITIVE
from plainly import Plain, plain_answers
from stored import saved_model
from tiny_models import model_folder
from tuneoff.data.encode import Encoder
from tuneoff.data.tokens import Tokens
from tuneoff.models.fingerprint import stamp_folder
from tuneoff.models.load import load_classifier, load_config, load_tokenizer
from tuneoff.models.save import kind_of, save_trained
from tuneoff.records.saved_model import BaseModel, TextRules
from tuneoff.serving.predictor import ONLY, Predictor
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.fit import FeatureEngine
from tuneoff.training.parallel.devices import SingleDevice

CPU = torch.device("cpu")
KINDS = (
    "bert", "roberta", "electra", "distilbert", "albert", "deberta-v2", "modernbert", "mpnet", "llama", "qwen3", "gpt2",
)  # fmt: skip
MATRIX_METHODS = ("full", "lora", "qlora", "ia3", "head_only", "frozen_features")
MAX_LENGTH = 24
EXACT = 1e-5
TEXTS = [
    "good film", "the plot was awful and very long", "a", "never seen before words", "",
    " ".join([*NEUTRAL, *NEUTRAL, *NEUTRAL, *POSITIVE]),  # longer than what it is cut at
    " ".join(NEGATIVE), "lovely [PAD] music [SEP]", "superb actor", "dull scene was poor", "great", "bad bad bad bad",
]  # fmt: skip
PAIRS = [(text, TEXTS[-1 - row] or "the") for row, text in enumerate(TEXTS)]


class Case(NamedTuple):
    """One cell of the matrix."""

    kind: str
    method: str
    classes: int


@dataclass(frozen=True)
class Saved:
    """A saved model, and what it said before it was saved: logits, shape (texts, classes)."""

    folder: Path
    logits: NDArray[np.float32]


def train_and_save(
    source: Path, method: str, labels: Sequence[str], folder: Path, texts: Any = TEXTS, **options: Any
) -> Saved:
    """Trains two steps through the engine, as a run does, and saves."""
    tokenizer = load_tokenizer(source)
    tokens = tokenised(tokenizer, texts, len(labels))
    arm = METHODS.classes()[method].model_validate({"method": method, **options})
    config = load_config(source, len(labels), tokenizer.pad_token_id)
    loaded = load_classifier(source, config, 0, CPU, torch.float32 if arm.quantised else None)
    torch.manual_seed(0)
    model: Any = arm.adapt(loaded)
    if arm.fitted:
        engine: Any = FeatureEngine(model, loaded, TrainingSpec(), CPU, SingleDevice())
        model.set_head(*arm.fit(engine.logits(tokens), tokens.labels, len(labels)))
    else:
        engine = make_engine(model, loaded, TrainingSpec(batch_size=8), CPU, torch.float32, arm=arm)
        half = len(texts) // 2
        list(engine.steps(tokens, [(np.arange(half), 3e-3), (np.arange(half, len(texts)), 3e-3)]))
    saved = saved_model(
        kind_of(model),
        tuple(labels),
        method=method,
        quantised=arm.quantised,
        texts=TextRules(label_names=tuple(labels), max_length=MAX_LENGTH),
        base=BaseModel(
            id=source.name,
            fingerprint=stamp_folder(source).fingerprint,
            path=Path(os.path.relpath(source, folder)).as_posix(),
        ),
    )
    save_trained(model, folder, source, saved)
    return Saved(folder, engine.logits(tokens))


def tokenised(tokenizer: Any, texts: Any, classes: int) -> Tokens:
    """Texts as a study tokenises them, with labels that go round."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(MAX_LENGTH, strategy="longest_first", direction=tokenizer.truncation_side)
    found = Encoder(backend.to_str())(texts)
    offsets = np.concatenate([[0], np.cumsum(found.lengths)])
    pairs = isinstance(texts[0], tuple)
    return Tokens(found.ids, offsets, np.arange(len(texts)) % classes, found.second_starts if pairs else None)


def assert_same(saved: Saved, plain: Plain, texts: Any = TEXTS) -> None:
    """The saved model gives what it gave before, to plain libraries and to the predictor."""
    np.testing.assert_allclose(plain.alone, saved.logits, rtol=0, atol=EXACT)
    np.testing.assert_allclose(plain.padded, saved.logits, rtol=0, atol=EXACT)
    assert np.ptp(saved.logits, axis=0).max() > 1e-3, "the texts must differ for this to mean anything"
    predicted = Predictor({ONLY: saved.folder}, device="cpu", precision="fp32").logits(texts)
    np.testing.assert_allclose(predicted, saved.logits, rtol=0, atol=EXACT)


def names_of(classes: int) -> list[str]:
    return [f"class {index}" for index in range(classes)]


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


@pytest.mark.long
@pytest.mark.parametrize("case", REST, ids=lambda case: "-".join(map(str, case)))
def test_every_method_on_every_architecture(case: Case, rest: dict[Case, tuple[Saved, Plain]]) -> None:
    saved, plain = rest[case]
    assert_same(saved, plain)
    assert plain.labels == names_of(case.classes)
