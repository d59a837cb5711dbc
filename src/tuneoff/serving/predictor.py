"""Saved models in memory, which classify texts: several tasks on one backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.data.encode import Encoded, Encoder, Texts
from tuneoff.data.tokens import Tokens
from tuneoff.models.load_saved import SavedClassifier, load_saved
from tuneoff.models.saved import SavedFolder
from tuneoff.spec import TrainingSpec
from tuneoff.training.device import choose_device, choose_precision
from tuneoff.training.engines.choose import make_engine

if TYPE_CHECKING:
    from tuneoff.records.saved_model import SavedModel
    from tuneoff.training.engines.base import Engine

ONLY = ""
"""Name of a model that is alone."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of a text.

    Attributes:
        label: the most probable class.
        probabilities: of all classes, by name, in their order.
    """

    label: str
    probabilities: dict[str, float]

    @property
    def probability(self) -> float:
        """Of the label."""
        return self.probabilities[self.label]


class Predictor:
    """One or several saved models, each backbone in memory once.

    Args:
        folders: of saved models, by the names that they are asked for by.
        base: a folder, `package:NAME` or Hub id in place of the base model that is recorded, for all of them.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "bf16" or "fp32".

    Raises:
        UserError: where a folder cannot be used.
    """

    def __init__(
        self,
        folders: Mapping[str, str | Path],
        base: str | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        settings = TrainingSpec.model_validate({"device": device, "precision": precision})
        self.device = choose_device(settings)
        self.precision = choose_precision(settings, self.device)
        opened = {name: SavedFolder.open(folder) for name, folder in folders.items()}
        bases = {name: folder.base_folder(base) for name, folder in opened.items()}
        self.saved: dict[str, SavedModel] = {name: folder.saved for name, folder in opened.items()}
        self._models = {
            name: _Model(load_saved(folder, bases[name], self.device, self.precision), folder.saved, self)
            for name, folder in opened.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names."""
        return tuple(self._models)

    def predict(self, texts: Texts, model: str | Sequence[str] | None = None) -> list[Prediction]:
        """Labels with probabilities, in the order of texts.

        Args:
            texts: or pairs of them.
            model: a name for all texts, or one for each; left out where there is one model.
        """
        chosen = self._chosen(texts, model)
        answers: list[Prediction | None] = [None] * len(texts)
        for name, logits in self._by_model(texts, chosen):
            names = self.saved[name].texts.label_names
            rows = [row for row, of_row in enumerate(chosen) if of_row == name]
            for row, probabilities in zip(rows, softmax(logits), strict=True):
                by_name = dict(zip(names, probabilities.tolist(), strict=True))
                answers[row] = Prediction(names[int(probabilities.argmax())], by_name)
        return [answer for answer in answers if answer is not None]

    def logits(self, texts: Texts, model: str | None = None) -> NDArray[np.float32]:
        """Logits of one model, shape (texts, classes)."""
        return self._models[self._chosen(texts, model)[0] if model is None else model].logits(texts)

    def encode(self, name: str, texts: Texts) -> Encoded:
        """A model's tokens of texts, or of pairs of them, cut as in its study."""
        return self._models[name].encode(texts)

    def compute(self, name: str, tokens: Tokens) -> NDArray[np.float32]:
        """Logits of one model for texts that each have tokens, shape (texts, classes)."""
        return self._models[name].compute(tokens)

    def _by_model(self, texts: Texts, chosen: Sequence[str]) -> list[tuple[str, NDArray[np.float32]]]:
        found = []
        for name in dict.fromkeys(chosen):
            own: Any = [text for text, of_text in zip(texts, chosen, strict=True) if of_text == name]
            found.append((name, self._models[name].logits(own)))
        return found

    def _chosen(self, texts: Texts, model: str | Sequence[str] | None) -> list[str]:
        if model is None and len(self._models) > 1:
            raise UserError(f"several models are loaded; name one of {', '.join(self.names)}")
        chosen = (
            [self.names[0] if model is None else model] * len(texts) if not isinstance(model, list | tuple) else model
        )
        for name in dict.fromkeys(chosen):
            if name not in self._models:
                raise UserError(f"no model is called '{name}'; there are {', '.join(self.names)}")
        return list(chosen)


class _Model:
    """A saved model with its engine and its tokenizer."""

    def __init__(self, classifier: SavedClassifier, saved: SavedModel, predictor: Predictor) -> None:
        backend = classifier.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(
            saved.texts.max_length, strategy="longest_first", direction=classifier.tokenizer.truncation_side
        )
        self.encode = Encoder(backend.to_str())
        self._engine = _engine(classifier, predictor.device, predictor.precision)

    def logits(self, texts: Texts) -> NDArray[np.float32]:
        encoded = self.encode(texts)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(encoded.lengths, dtype=np.int64)])
        return self.compute(Tokens(encoded.ids, offsets, np.zeros(len(texts), dtype=np.int64), encoded.second_starts))

    def compute(self, tokens: Tokens) -> NDArray[np.float32]:
        return self._engine.logits(tokens)


def _engine(classifier: SavedClassifier, device: torch.device, precision: torch.dtype) -> Engine:
    from tuneoff.models.mean_pooled import MeanPooledClassifier
    from tuneoff.training.fit import FeatureEngine
    from tuneoff.training.parallel.devices import SingleDevice

    if isinstance(classifier.model, MeanPooledClassifier):
        return FeatureEngine(
            classifier.model, classifier.loaded, TrainingSpec(), device, SingleDevice(precision=precision)
        )
    return make_engine(classifier.model, classifier.loaded, TrainingSpec(), device, precision)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities, shape (texts, classes)."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)
