"""Saved models in memory, which classify texts: several tasks on one backbone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.core.errors import UserError, saying
from tuneoff.core.texts import in_line, is_blank
from tuneoff.data.encode import Encoded, Encoder, Texts
from tuneoff.data.tokens import Tokens
from tuneoff.models.load_saved import BaseModels, SavedClassifier, load_saved
from tuneoff.models.saved import SavedFolder
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.spec.data import TASKS
from tuneoff.training.device import choose_device, choose_precision, precision_name
from tuneoff.training.engines.choose import make_engine

if TYPE_CHECKING:
    from tuneoff.records.saved_model import SavedModel
    from tuneoff.tasks.base import Task
    from tuneoff.training.engines.base import Engine

ONLY = ""
"""Name of a model that is alone."""
MOST_CLASSES_SHOWN = 8


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a model says of a text.

    Attributes:
        label: the most probable class; of a model of several labels those that it gives, in their order; or the number.
        probabilities: of all classes or labels, by name, in their order; none of a number.
    """

    label: str | tuple[str, ...] | float
    probabilities: dict[str, float]

    @property
    def probability(self) -> float | None:
        """Of the class; None where there is not one."""
        return self.probabilities.get(self.label) if isinstance(self.label, str) else None

    def __repr__(self) -> str:
        certain = "" if self.probability is None else f", probability={self.probability:.4f}"
        return f"Prediction(label={self.label!r}{certain})"


def load(
    folder: str | Path | Mapping[str, str | Path],
    base: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Predictor:
    """Loads a saved model, or several by name, to predict with.

    Args:
        folder: of a saved model, such as a run's `model`; or folders by the names that they are asked for by.
        base: a folder, `package:NAME` or Hub id in place of the base model that is recorded.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "bf16" or "fp32".

    Raises:
        UserError: (a `ValueError`) where a folder cannot be used.
    """
    return Predictor(folder if isinstance(folder, Mapping) else {ONLY: folder}, base, device, precision)


class Predictor:
    """One or several saved models; those on the same base model share its tensors, which are in memory once.

    Args:
        folders: of saved models, opened or not, by the names that they are asked for by.
        base: a folder, `package:NAME` or Hub id in place of the base model that is recorded, for all of them.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "bf16" or "fp32".

    Raises:
        UserError: where a folder cannot be used.
    """

    def __init__(
        self,
        folders: Mapping[str, str | Path | SavedFolder],
        base: str | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        settings = TrainingSpec.model_validate(_one_of({"device": device, "precision": precision}))
        with saying((r"^training\.", "")):
            self.device = choose_device(settings)
            self.precision = choose_precision(settings, self.device)
        opened = {
            name: folder if isinstance(folder, SavedFolder) else SavedFolder.open(folder)
            for name, folder in folders.items()
        }
        bases = {name: folder.base_folder(base) for name, folder in opened.items()}
        self.saved: dict[str, SavedModel] = {name: folder.saved for name, folder in opened.items()}
        base_models = BaseModels()
        loaded = {
            name: load_saved(folder, bases[name], self.device, self.precision, base_models)
            for name, folder in opened.items()
        }
        encoders: dict[str, Encoder] = {}  # by their definition, since models on one base model mostly share it
        self._models = {name: _Model(each, self.saved[name], self, encoders) for name, each in loaded.items()}

    def __repr__(self) -> str:
        lines = [_described(name, saved) for name, saved in self.saved.items()]
        how = f"{self.device.type}, {precision_name(self.precision)}"
        return f"Predictor({'; '.join(lines)}; {how})"

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names."""
        return tuple(self._models)

    def predict(self, texts: Texts, model: str | Sequence[str] | None = None) -> list[Prediction]:
        """Labels with probabilities, in the order of texts.

        Args:
            texts: or pairs of them.
            model: a name for all texts, or one for each; left out where there is one model.

        Raises:
            UserError: where a model is not named or not there, or what is to be classified is no text, or a blank one.
        """
        texts = _checked(texts)
        chosen = self._chosen(texts, model)
        answers: list[Prediction | None] = [None] * len(texts)
        for name in dict.fromkeys(chosen):
            rows = [row for row, of_row in enumerate(chosen) if of_row == name]
            own: Any = [texts[row] for row in rows]
            for row, prediction in zip(rows, self._predictions(name, self._logits(name, own)), strict=True):
                answers[row] = prediction
        return [answer for answer in answers if answer is not None]

    def logits(self, texts: Texts, model: str | None = None) -> NDArray[np.float32]:
        """Logits of one model, shape (texts, classes); see `predict`."""
        texts = _checked(texts)
        return self._logits(self._only() if model is None else self._known(model), texts)

    def tokenise(self, texts: Texts) -> dict[str, Tokens]:
        """The tokens of some texts, one or more, for each model; those that cut alike have the same.

        Labels are all 0. A text may say nothing (see `says_something`), and is not to be computed then.
        """
        found: dict[Encoder, Tokens] = {}
        for model in self._models.values():
            if model.encoder not in found:
                found[model.encoder] = model.tokens(texts)
        return {name: found[model.encoder] for name, model in self._models.items()}

    def encode(self, name: str, texts: Texts) -> Encoded:
        """A model's tokens of texts, or of pairs of them, cut as in its study, and how many each has lost."""
        return self._models[name].encoder(texts)

    def says_something(self, name: str, texts: Texts, lengths: NDArray[Any]) -> NDArray[np.bool_]:
        """Which texts a model can make something of: none is blank, and the tokenizer makes tokens of them.

        Args:
            name: of the model.
            texts: one or more.
            lengths: tokens of each, with those that the tokenizer puts around any text.
        """
        found = lengths > self._models[name].encoder.marks(isinstance(texts[0], tuple))
        blank = [any(map(is_blank, text)) if isinstance(text, tuple) else is_blank(text) for text in texts]
        return found & ~np.array(blank)

    def compute(self, name: str, tokens: Tokens) -> NDArray[np.float32]:
        """Logits of one model for texts that each say something, shape (texts, classes)."""
        return self._models[name].compute(tokens)

    def task(self, name: str) -> Task:
        """What a model's logits say."""
        rules = self.saved[name].texts
        return TASKS.named(rules.task)(rules)

    def _predictions(self, name: str, logits: NDArray[np.float32]) -> list[Prediction]:
        task, names = self.task(name), self.saved[name].texts.label_names
        given = task.given(task.answers(logits), names)
        chances = task.probabilities(logits)
        found = names[: chances.shape[1]]
        by_name = [dict(zip(found, row, strict=True)) for row in chances.tolist()]
        return [Prediction(label, row) for label, row in zip(given, by_name, strict=True)]

    def _logits(self, name: str, texts: Texts) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, len(self.saved[name].texts.label_names)), dtype=np.float32)
        rules = self.saved[name].texts
        pairs = rules.text_pair is not None
        if rules.text is not None and isinstance(texts[0], tuple) != pairs:
            model = f"the model '{name}'" if name else "the model"
            raise UserError(f"{model} classifies {'pairs of texts' if pairs else 'single texts, not pairs of them'}")
        tokens = self._models[name].tokens(texts)
        without = np.flatnonzero(~self.says_something(name, texts, tokens.lengths))
        if len(without):
            raise UserError(f"{str(texts[without[0]])[:60]!r} holds no tokens, so that there is nothing to classify")
        return self.compute(name, tokens)

    def _chosen(self, texts: Texts, model: str | Sequence[str] | None) -> list[str]:
        """The model's name for each text."""
        if model is None or isinstance(model, str):
            return [self._only() if model is None else self._known(model)] * len(texts)
        if len(model) != len(texts):
            raise UserError(f"there are {len(texts):,} texts, but {len(model):,} names of models; give one for each")
        return [self._known(name) for name in model]

    def _only(self) -> str:
        if len(self._models) > 1:
            raise UserError(f"several models are loaded; name one of {in_line(self.names)}")
        return self.names[0]

    def _known(self, name: str) -> str:
        if name not in self._models:
            raise UserError(f"no model is called '{name}'; there are {in_line(self.names)}")
        return name


class _Model:
    """A saved model with its engine and its tokenizer."""

    def __init__(
        self, classifier: SavedClassifier, saved: SavedModel, predictor: Predictor, encoders: dict[str, Encoder]
    ) -> None:
        backend = classifier.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(
            saved.texts.max_length, strategy="longest_first", direction=classifier.tokenizer.truncation_side
        )
        definition, self.long_texts = backend.to_str(), saved.texts.long_texts
        key = f"{self.long_texts} {definition}"
        self.encoder = encoders.setdefault(key, Encoder(definition, self.long_texts))
        self._engine = _engine(classifier, saved, predictor.device, predictor.precision)

    def tokens(self, texts: Texts) -> Tokens:
        return Tokens.of(self.encoder(texts), self.long_texts)

    def compute(self, tokens: Tokens) -> NDArray[np.float32]:
        return self._engine.logits(tokens)


def _engine(classifier: SavedClassifier, saved: SavedModel, device: torch.device, precision: torch.dtype) -> Engine:
    from tuneoff.models.mean_pooled import MeanPooledClassifier
    from tuneoff.training.fit import FeatureEngine
    from tuneoff.training.parallel.devices import SingleDevice

    if isinstance(classifier.model, MeanPooledClassifier):
        return FeatureEngine(
            classifier.model, classifier.loaded, TrainingSpec(), device, SingleDevice(precision=precision)
        )
    return make_engine(classifier.model, classifier.loaded, TrainingSpec(), device, precision, arm=_method_of(saved))


def _method_of(saved: SavedModel) -> ArmSpec | None:
    """What a model was trained by, which says in what precision its parts are computed; None where it is not there."""
    method = METHODS.classes().get(saved.method)
    return None if method is None else method.model_validate({"method": saved.method})


def _one_of(given: dict[str, str]) -> dict[str, str]:
    """What a user has asked for, where there is such a thing."""
    for name, value in given.items():
        known = get_args(TrainingSpec.model_fields[name].annotation)
        if value not in known:
            raise UserError(f"{name} = {value!r}: choose one of {', '.join(known)}")
    return given


def _checked(texts: Iterable[Any]) -> Texts:
    """Texts or pairs of them, as the tokenizer takes them."""
    if isinstance(texts, str | Mapping):
        raise UserError("predict takes a list of texts, or of pairs of texts")
    found = [tuple(text) if isinstance(text, list) else text for text in texts]
    pairs = bool(found) and isinstance(found[0], tuple)
    for row, text in enumerate(found, start=1):
        parts = text if pairs and isinstance(text, tuple) else (text,)
        if len(parts) != 1 + pairs or not all(isinstance(part, str) for part in parts):
            kind = "a pair of texts" if pairs else "a text"
            raise UserError(f"item {row:,} is not {kind} but {str(text)[:60]!r}")
        try:
            "".join(parts).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"item {row:,} holds half of a character (a lone surrogate); write it whole") from error
    return found


def _described(name: str, saved: SavedModel) -> str:
    names = saved.texts.label_names
    gives = {"class": "classes", "labels": "labels", "number": "which gives"}[TASKS.named(saved.texts.task).kind]
    shown = ", ".join(names[:MOST_CLASSES_SHOWN]) + (" ..." if len(names) > MOST_CLASSES_SHOWN else "")
    return f"{f'{name}: ' if name else ''}{saved.arm} of {saved.study} on {saved.base.id}, {gives} {shown}"
