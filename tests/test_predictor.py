"""Saved models in Python: what they answer and refuse, what they share, which texts and columns they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tuneoff
from conftest import reviews
from predict_parts import Models, models
from tuneoff.records.saved_model import TextRules
from tuneoff.serving.labelling import Labeller
from tuneoff.serving.text_rows import given_texts, rows_of_file

__all__ = ["models"]


def test_in_python(models: Models) -> None:
    model = tuneoff.load(models["lora"])
    answers = model.predict(["the film was superb", "dull"])
    assert [answer.label in ("0", "1") for answer in answers] == [True, True]
    assert answers[0].probability == max(answers[0].probabilities.values())
    assert sum(answers[0].probabilities.values()) == pytest.approx(1)
    assert repr(answers[0]) == f"Prediction(label={answers[0].label!r}, probability={answers[0].probability:.4f})"
    assert repr(model).startswith("Predictor(lora of tiny on ")
    assert model.predict([]) == []
    assert model.logits([]).shape == (0, 2)
    with pytest.raises(tuneoff.UserError, match="classifies single texts, not pairs"):
        model.predict([("the film", "superb")])
    with pytest.raises(tuneoff.UserError, match="device = 'tpu': choose one of auto, cpu, cuda"):
        tuneoff.load(models["lora"], device="tpu")
    texts: Any
    for texts, wrong in (
        ("one text", "takes a list of texts"),
        (["good", None], "item 2 is not a text"),
        ([("a", "b"), "c"], "item 2 is not a pair"),
        (["\ud800"], "lone surrogate"),
    ):
        with pytest.raises(tuneoff.UserError, match=wrong):
            model.predict(texts)
    with pytest.raises(tuneoff.UserError, match="no model is called 'x'"):
        model.predict(["good"], model="x")


def test_models_on_one_base_share_its_tensors_and_answer_as_if_alone(models: Models) -> None:
    texts = reviews(40, seed=5)["text"].tolist()
    names = ("lora", "three", "frozen_features")
    together = tuneoff.load({name: models[name] for name in names}, precision="fp32")
    kept = [_tensors(together, name) for name in names]
    alone = [tuneoff.load(models[name], precision="fp32") for name in names]
    for name, single in zip(names, alone, strict=True):
        np.testing.assert_array_equal(together.logits(texts, name), single.logits(texts))
    backbone = set.intersection(*(set(tensors) for tensors in kept))
    everything = {pointer: size for tensors in kept for pointer, size in tensors.items()}
    shared = sum(everything[pointer] for pointer in backbone)
    separate = sum(sum(_tensors(single, "").values()) for single in alone)
    assert shared > 0.8 * sum(kept[0].values())
    assert sum(everything.values()) < shared + (separate - 3 * shared) + 1
    mixed = [names[row % 3] for row in range(len(texts))]
    answers = together.predict(texts, model=mixed)
    for name, single in zip(names, alone, strict=True):
        own = [row for row, of_row in enumerate(mixed) if of_row == name]
        expected = single.predict([texts[row] for row in own])
        assert [answers[row] for row in own] == expected
    with pytest.raises(tuneoff.UserError, match="name one of lora, three, frozen_features"):
        together.predict(texts)
    with pytest.raises(tuneoff.UserError, match="give one for each"):
        together.predict(texts, model=["lora"])


def _tensors(predictor: tuneoff.Predictor, name: str) -> dict[int, int]:
    """Bytes of a model's parameters, by where they are."""
    parameters = predictor._models[name]._engine.model.parameters()
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in parameters}


def test_pairs_take_the_columns_of_the_study_or_usual_ones(tmp_path: Path) -> None:
    frame = pd.DataFrame({"premise": ["a"], "hypothesis": ["b"], "left": ["c"], "right": ["d"]})
    frame.to_csv(tmp_path / "in.csv", index=False)
    path = str(tmp_path / "in.csv")
    named = TextRules(label_names=("0", "1"), max_length=8, text="left", text_pair="right")
    usual = TextRules(label_names=("0", "1"), max_length=8)
    rows = rows_of_file(path, [named], None, None)
    assert (rows.text, rows.text_pair) == ("left", "right")
    rows = rows_of_file(path, [usual], None, None)
    assert (rows.text, rows.text_pair) == ("premise", "hypothesis")
    rows = rows_of_file(path, [usual], "left", "right")
    assert (rows.text, rows.text_pair) == ("left", "right")
    with pytest.raises(tuneoff.UserError, match="pairs of texts; ask them one after the other"):
        rows_of_file(path, [named, TextRules(label_names=("0", "1"), max_length=8, text="left")], None, None)


def test_a_text_of_no_tokens_gets_no_label(models: Models) -> None:
    predictor = tuneoff.load(models["full"], device="cpu")
    predictor._models[""].encoder = _Nothing(predictor._models[""].encoder)  # type: ignore[assignment]
    rows = given_texts(["good", "nothing", "bad"])
    (piece,) = Labeller(predictor, rows).labelled()
    assert piece.table.column("label").is_null().to_pylist() == [False, True, False]
    assert (piece.without_text, piece.first_without) == (1, "row 2 of the command line")
    with pytest.raises(tuneoff.UserError, match="'nothing' holds no tokens"):
        predictor.predict(["good", "nothing"])
    for blank in ("", " \n\t"):
        with pytest.raises(tuneoff.UserError, match="holds no tokens, so that there is nothing to classify"):
            predictor.predict(["good", blank])


class _Nothing:
    """Encodes as another, but makes nothing of one text, as tokenizers without marks do of blanks."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self.marks = encoder.marks

    def __call__(self, texts: list[str]) -> Any:
        from tuneoff.data.encode import Encoded

        encoded = self._encoder(texts)
        kept = np.repeat([text != "nothing" for text in texts], encoded.lengths)
        lengths = np.where([text == "nothing" for text in texts], 0, encoded.lengths).astype(np.int32)
        return Encoded(encoded.ids[kept], lengths, lengths, encoded.lost, lengths[lengths > 0])
