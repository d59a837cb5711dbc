"""What would only fail in training is found before: the model computes the rows that are likeliest to fail."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import psutil
import pytest
from safetensors.torch import load_file, save_file

import tuneoff as api
from conftest import Command, reviews, save_tokenizer, study_toml
from tiny_models import model_folder
from tuneoff.study.prepare import prepare_study
from tuneoff.study.rehearsal import rehearse

Break = Callable[[Path], object]


def of(kind: str, **changes: Any) -> Break:
    """Makes a model folder of an architecture."""
    return lambda folder: model_folder(kind, folder, **changes)


def with_weights(kind: str, change: Callable[[dict[str, Any]], object]) -> Break:
    """Makes a model folder whose tensors are changed."""

    def make(folder: Path) -> None:
        model_folder(kind, folder)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return make


def put(number: float, ending: str) -> Callable[[dict[str, Any]], object]:
    """Puts a number into the last place of the first tensor whose name ends so."""
    return lambda tensors: (
        next(value for name, value in tensors.items() if name.endswith(ending)).view(-1)[-1].fill_(number)
    )


def short(ending: str) -> Callable[[dict[str, Any]], object]:
    """Leaves 20 rows of the tensor whose name ends so."""

    def change(tensors: dict[str, Any]) -> None:
        name = next(name for name in tensors if name.endswith(ending))
        tensors[name] = tensors[name][:20].clone()

    return change


def with_added_token(folder: Path) -> None:
    """A token that texts have, added to the tokenizer and not to the model."""
    from transformers import AutoTokenizer

    model_folder("distilbert", folder, vocab_size=save_tokenizer(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["fil"])
    tokenizer.save_pretrained(folder)


def with_few_positions(folder: Path) -> None:
    """A model of an architecture without a record, whose first position nobody sees in its build."""
    from transformers import IBertConfig, IBertModel

    config = IBertConfig(
        hidden_size=32, num_attention_heads=2, num_hidden_layers=2, intermediate_size=48, vocab_size=60,
        max_position_embeddings=32, pad_token_id=10,
    )  # fmt: skip
    IBertModel(config).save_pretrained(folder)
    save_tokenizer(folder)


REFUSED: dict[str, tuple[Break, tuple[str, ...]]] = {
    "an added token": (with_added_token, ("test.csv (split test) has token 24 ", "resize_token_embeddings")),
    "embeddings of few tokens": (of("roberta", vocab_size=20), ("has embeddings for 20 alone",)),
    "embeddings of few tokens, two sides": (of("t5", vocab_size=20), ("has embeddings for 20 alone",)),
    "positions too few though the tokenizer says more": (
        with_few_positions,
        (".csv (split ", "set data.max_length = 21"),
    ),
    "position embeddings of another number": (
        with_weights("bert", short("position_embeddings.weight")),
        ("has the shape (20, 32), and would need (40, 32)",),
    ),
    "not a number in weights": (with_weights("bert", put(float("nan"), "value.weight")), ("value.weight holds",)),
    "infinite embedding": (with_weights("gpt2", put(float("inf"), "wte.weight")), ("wte.weight holds", "not finite")),
    "no end of text": (of("bart", eos_token_id=50, forced_eos_token_id=50), ("eos_token_id of its config.json",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_before_anything_is_trained(case: str, tuneoff: Command, data_files: Path, tmp_path: Path) -> None:
    make, words = REFUSED[case]
    make(tmp_path / "model")
    (tmp_path / "study.toml").write_text(study_toml("./model", data_files, ["head_only"]))
    answer = tuneoff("run", "study.toml")
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("tuneoff: ")
    assert "Traceback" not in answer.stderr
    assert [word for word in words if word not in answer.stderr] == [], answer.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"model", "study.toml"}


@pytest.mark.parametrize(
    "wrong", [IndexError("index out of range"), AssertionError(), KeyError("x"), RuntimeError("a\nb")]
)
def test_a_row_that_the_model_refuses_is_named(
    wrong: Exception, tiny_model: Path, data_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import BertForSequenceClassification

    shortest = 3
    computed = BertForSequenceClassification.forward

    def forward(model: Any, input_ids: Any, **others: Any) -> Any:
        if input_ids.shape[1] == shortest:
            raise wrong
        return computed(model, input_ids, **others)

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    frame = pd.concat([reviews(60, seed=1), pd.DataFrame({"text": ["film"], "label": [1]})])
    frame.to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "test.csv").write_bytes((data_files / "test.csv").read_bytes())
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, tmp_path, ["head_only"]))
    with pytest.raises(api.UserError, match=r"row 61 of .*train.csv .*of 3 tokens: .*leave such rows out") as refusal:
        api.run_study(api.load_study(tmp_path / "study.toml"), tmp_path / "out", report=False)
    assert type(wrong).__name__ in str(refusal.value)
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_ends_of_text_inside_texts_are_no_trouble(
    kind: str, tuneoff: Command, data_files: Path, tmp_path: Path
) -> None:
    model_folder(kind, tmp_path / "model", eos_token_id=3, forced_eos_token_id=3)
    frame = reviews(60, seed=1)
    frame.loc[5, "text"] = "good [SEP] film [SEP] [SEP]"
    frame.to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "test.csv").write_bytes((data_files / "test.csv").read_bytes())
    (tmp_path / "study.toml").write_text(study_toml("./model", tmp_path, ["head_only"], seeds=1, epochs=1))
    answer = tuneoff("run", "--no-report", "study.toml")
    assert answer.returncode == 0, answer.stderr


def test_nothing_is_said_where_all_is_well_and_tokens_no_text_has_do_no_harm(
    tiny_model: Path,
    data_files: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import AutoTokenizer

    shutil.copytree(tiny_model, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.add_tokens(["[never in a text]"])
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "study.toml").write_text(study_toml(tmp_path / "model", data_files, ["head_only"]))
    spec = api.load_study(tmp_path / "study.toml")
    prepared = prepare_study(spec, tmp_path / "out", lambda _: None)
    said: list[str] = []
    capfd.readouterr()
    began = time.monotonic()
    rehearse(spec, prepared, said.append)
    assert time.monotonic() - began < 5
    assert said == []
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    rehearse(spec, prepared, said.append)
    assert [line for line in said if "of main memory" in line] == said != []
