"""Models trained for two steps and saved as a run saves them, in the tests' own process and without a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from conftest import NEGATIVE, NEUTRAL, POSITIVE
from stored import saved_model
from tuneoff.data.encode import Encoder
from tuneoff.data.tokens import Tokens
from tuneoff.models.fingerprint import stamp_folder
from tuneoff.models.load import load_classifier, load_config, load_tokenizer
from tuneoff.models.quantised import quantisation_of
from tuneoff.models.save import kind_of, save_trained
from tuneoff.models.virtual_tokens import VirtualTokens, ids_behind, place_in_texts
from tuneoff.records.saved_model import BaseModel, TextRules
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.fit import FeatureEngine
from tuneoff.training.parallel.devices import SingleDevice

CPU = torch.device("cpu")
MAX_LENGTH = 24
TEXTS = [
    "good film", "the plot was awful and very long", "a", "never seen before words", "?",
    " ".join([*NEUTRAL, *NEUTRAL, *NEUTRAL, *POSITIVE]),  # longer than what it is cut at
    " ".join(NEGATIVE), "lovely [PAD] music [SEP]", "superb actor", "dull scene was poor", "great", "bad bad bad bad",
]  # fmt: skip
PAIRS = [(text, TEXTS[-1 - row]) for row, text in enumerate(TEXTS)]


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
    arm = METHODS.classes()[method].model_validate({"method": method, **options})
    config = load_config(source, len(labels), tokenizer.pad_token_id)
    tokens = tokenised(tokenizer, texts, len(labels), virtual_ids(arm, config))
    loaded = load_classifier(source, config, 0, CPU, quantisation_of(arm.quantization, torch.float32))
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
        quantization=arm.quantization,
        virtual_tokens=arm.virtual_tokens,
        texts=TextRules(label_names=tuple(labels), max_length=MAX_LENGTH + arm.virtual_tokens),
        base=BaseModel(
            id=source.name,
            fingerprint=stamp_folder(source).fingerprint,
            path=Path(os.path.relpath(source, folder)).as_posix(),
        ),
    )
    save_trained(model, folder, source, saved)
    return Saved(folder, engine.logits(tokens))


def tokenised(tokenizer: Any, texts: Any, classes: int, virtual: tuple[int, ...] = ()) -> Tokens:
    """Texts as a study tokenises them, with labels that go round, and virtual tokens."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(MAX_LENGTH, strategy="longest_first", direction="right")  # as "head" says
    found = Encoder(backend.to_str())(texts)
    offsets = np.concatenate([[0], np.cumsum(found.lengths)])
    pairs = isinstance(texts[0], tuple)
    tokens = Tokens(found.ids, offsets, np.arange(len(texts)) % classes, found.second_starts if pairs else None)
    if not virtual:
        return tokens
    return tokens.with_virtual(VirtualTokens(virtual, place_in_texts(tokenizer)))


def virtual_ids(arm: ArmSpec, config: Any) -> tuple[int, ...]:
    """Of an arm's virtual tokens in a model."""
    return ids_behind(config.get_text_config().vocab_size, arm.virtual_tokens)


def names_of(classes: int) -> list[str]:
    return [f"class {index}" for index in range(classes)]
