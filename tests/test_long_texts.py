"""What is read of texts that are longer than the model shall read at once: beginning, end, both, or all in windows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import NEGATIVE, NEUTRAL, POSITIVE, Command, study_toml
from engine_parts import BERT_LIKE, CPU, PACKED, classifier, make_tokens
from tuneoff.core.long_texts import LongTexts
from tuneoff.data.encode import Encoder
from tuneoff.data.tokens import Tokens
from tuneoff.spec import TrainingSpec
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.packed import PackedEngine
from tuneoff.training.engines.padded import PaddedEngine
from tuneoff.training.kernels.dropout import Dropout

WINDOWS = [2, 1, 4, 1, 3, 1]
"""Windows of each of the texts below."""
ROWS = np.array([2, 0, 3, 5, 4])


def windowed(over_windows: Any = "mean") -> Tokens:
    tokens = make_tokens([9, 9, 5, 12, 12, 12, 11, 3, 8, 7, 7, 2])
    firsts = np.concatenate([[0], np.cumsum(WINDOWS)])
    return replace(
        tokens,
        offsets=tokens.offsets[firsts],
        labels=np.array([0, 1, 2, 0, 1, 2]),
        windows=tokens.offsets,
        over_windows=over_windows,
    )


def no_dropout(engine: Engine) -> Engine:
    for module in engine.model.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    return engine


def step(engine: Engine, tokens: Tokens) -> tuple[dict[str, torch.Tensor], float]:
    """Gradients of a step on `ROWS`, and its mean loss."""
    found: dict[str, torch.Tensor] = {}
    engine.model.train()
    no_dropout(engine)

    def keep() -> None:
        found.update({name: p.grad.clone() for name, p in engine.model.named_parameters() if p.grad is not None})

    engine.optimiser.step = keep  # type: ignore[method-assign]
    engine._step(tokens, ROWS, 0.0)
    engine._weight = float(len(ROWS))
    return found, engine.mean_loss()


def of_windows_apart(model: Any, tokens: Tokens, rows: np.ndarray[Any, Any], over_windows: str) -> torch.Tensor:
    """Logits of texts by the plain model, window by window."""
    assert tokens.windows is not None
    bounds = tokens.windows.tolist()
    logits = []
    for row in rows:
        start, end = bounds.index(tokens.offsets[row]), bounds.index(tokens.offsets[row + 1])
        ids = [torch.from_numpy(tokens.ids[bounds[at] : bounds[at + 1]].astype(np.int64)) for at in range(start, end)]
        own = torch.cat([model(input_ids=each[None]).logits for each in ids])
        logits.append(own.mean(dim=0) if over_windows == "mean" else own.amax(dim=0))
    return torch.stack(logits)


@pytest.mark.parametrize("make", [PackedEngine, PaddedEngine])
@pytest.mark.parametrize("kind", ["bert", "modernbert mean", "llama"])
@pytest.mark.parametrize("over_windows", ["mean", "max"])
@pytest.mark.parametrize("micro_batch", [100, 3])
def test_windows_are_computed_apart_and_their_logits_put_together(
    make: type[Engine], kind: str, over_windows: str, micro_batch: int
) -> None:
    options = {**PACKED[kind], "attention_probs_dropout_prob": 0.0}
    tokens = windowed(over_windows)
    loaded = classifier(kind, options)
    engine = no_dropout(make(loaded.model, loaded, TrainingSpec(batch_size=5), CPU, micro_batch))
    plain = classifier(kind, options).model.eval()
    expected = of_windows_apart(plain, tokens, np.arange(6), over_windows).detach().numpy()
    np.testing.assert_allclose(engine.logits(tokens), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(engine.classify(tokens, ROWS), expected[ROWS], rtol=1e-5, atol=1e-5)

    found, loss = step(engine, tokens)
    labels = torch.from_numpy(tokens.labels[ROWS])
    mean = torch.nn.functional.cross_entropy(of_windows_apart(plain, tokens, ROWS, over_windows), labels)
    mean.backward()
    assert loss == pytest.approx(float(mean.detach()), rel=1e-5)
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_a_batch_of_many_windows_is_computed_in_parts_that_memory_bears() -> None:
    loaded = classifier("bert", BERT_LIKE)
    engine = PackedEngine(loaded.model, loaded, TrainingSpec(batch_size=5), CPU, 4)
    parts = engine._micro_batches(windowed(), ROWS)
    assert [part.tolist() for part in parts] == [[2], [0, 3, 5], [4]]


def test_texts_taken_out_are_the_same_texts() -> None:
    tokens = windowed()
    some = tokens.take(ROWS)
    assert some.lengths.tolist() == tokens.lengths[ROWS].tolist()
    assert some.sequences.tolist() == tokens.sequences[ROWS].tolist() == [4, 2, 1, 1, 3]
    assert some.ids.tolist() == tokens.ids_of(ROWS).tolist()
    assert [tokens.text_of(number) for number in range(12)] == np.repeat(np.arange(6), WINDOWS).tolist()


@pytest.mark.parametrize("rule", get_args(LongTexts))
@pytest.mark.parametrize("most", [10, 13])
def test_what_is_read_of_a_text(rule: LongTexts, most: int, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(most, strategy="longest_first", direction="right")
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(NEUTRAL, count)) for count in (1, most - 2, most - 1, 40, 59)]
    found = Encoder(backend.to_str(), rule)(texts)
    tokens = Tokens.of(found, rule)
    for row, text in enumerate(texts):
        own = tokenizer(text, add_special_tokens=False)["input_ids"]
        room = most - 2
        if len(own) <= room:
            expected = [own]
        elif rule in ("windows", "windows-max"):
            expected = [part.tolist() for part in np.array_split(own, int(np.ceil(len(own) / room)))]
        else:
            tail = {"head": 0, "tail": room, "head+tail": room // 2}[rule]
            expected = [own[: room - tail] + own[len(own) - tail :]]
        marked = [[tokenizer.cls_token_id, *part, tokenizer.sep_token_id] for part in expected]
        numbers = tokens.sequences_of(np.array([row]))
        assert [tokens.by_sequence.ids_of(numbers[[at]]).tolist() for at in range(len(numbers))] == marked
        assert found.lost[row] == len(own) - sum(map(len, expected))


def write_documents(path: Path, rows: int, seed: int, words: int = 60) -> None:
    """Documents of many words, of which a few somewhere in their middle say what they are."""
    draw = np.random.default_rng(seed)
    frame = []
    for row in range(rows):
        label = ["bad", "good"][row % 2]
        text = [*draw.choice(NEUTRAL, words), f"{path.stem}{row}"]
        for _ in range(3):
            text[draw.integers(words // 3, 2 * words // 3)] = draw.choice(POSITIVE if label == "good" else NEGATIVE)
        frame.append({"text": " ".join(text), "label": label})
    pd.DataFrame(frame).to_csv(path, index=False)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    write_documents(tmp_path / "train.csv", 120, 0, words=42)
    write_documents(tmp_path / "test.csv", 60, 1, words=42)
    return tmp_path


def write_study(
    folder: Path, model: Path, arms: list[str], long_texts: str, max_length: int = 16, epochs: int = 6
) -> Path:
    toml = study_toml(model, folder, arms, seeds=1, epochs=epochs, precision='"fp32"')
    path = folder / "study.toml"
    path.write_text(toml.replace("max_length = 32", f'max_length = {max_length}\nlong_texts = "{long_texts}"'))
    return path


RATE = "learning_rate = 3e-3"
EXPORTED = ("frozen_features", "max", "both")
"""Arms of documents: one of each way to put together what was read; each export starts a process of its own."""


@pytest.mark.long
def test_arms_may_read_other_parts_of_long_texts(documents: Path, tiny_model: Path, tuneoff: Command) -> None:
    arms = [f'name = "{rule}"\nmethod = "full"\n{RATE}\nlong_texts = "{rule}"' for rule in get_args(LongTexts)]
    study = write_study(documents, tiny_model, [*arms, f'method = "full"\n{RATE}'], "head", epochs=4)
    answer = tuneoff("run", study, "--out", "out", "--no-report")
    assert answer.returncode == 0, answer.stderr
    summary = json.loads((documents / "out" / "summary.json").read_text())
    scores = {arm["arm"]: arm["test_scores"][0] for arm in summary["arms"]}
    assert scores["windows"] > 0.9
    assert scores["windows-max"] > 0.8
    assert scores["head"] == scores["full"]  # the study's rule
    assert max(scores["head"], scores["tail"], scores["head+tail"]) < 0.75  # what says it stands in the middle
    results = {path: path.stat().st_mtime_ns for path in (documents / "out" / "runs").glob("*/result.json")}
    fewer = write_study(documents, tiny_model, arms[:2], "head", epochs=4)
    again = tuneoff("run", fewer, "--out", "out", "--no-report")
    assert again.returncode == 0, again.stderr
    assert "nothing to train" in again.stdout, "the runs of one arm do not hang on another's rule"
    assert all(path.stat().st_mtime_ns == then for path, then in results.items())


def test_what_cannot_be_read_in_windows_is_said_in_one_line(
    documents: Path, tiny_model: Path, tuneoff: Command
) -> None:
    study = write_study(documents, tiny_model, ["frozen_features"], "windows-max")
    answer = tuneoff("plan", study)
    assert answer.returncode == 2
    assert "frozen_features fits its head to the mean of a text's windows" in answer.stderr
    for name in ("train.csv", "test.csv"):
        frame = pd.read_csv(documents / name)
        frame.assign(other=frame["text"].str[:30]).to_csv(documents / name, index=False)
    pairs = write_study(documents, tiny_model, ["head_only"], "head+tail")
    pairs.write_text(pairs.read_text().replace("[data]\n", '[data]\ntext_pair = "other"\n'))
    for command in ("plan", "run"):
        answer = tuneoff(command, pairs)
        assert answer.returncode == 2
        assert "long_texts = 'head+tail' reads single texts, and these are pairs" in answer.stderr
    assert not (documents / "studies-out").exists()


@pytest.mark.long
def test_documents_of_2000_words_from_file_to_prediction(tmp_path: Path, tiny_model: Path, tuneoff: Command) -> None:
    write_documents(tmp_path / "train.csv", 24, 0, words=2000)
    write_documents(tmp_path / "test.csv", 12, 1, words=2000)
    arms = [
        f'method = "full"\n{RATE}',
        f'method = "prompt_tuning"\n{RATE}\nnum_virtual_tokens = 4',
        'method = "frozen_features"',
        f'name = "max"\nmethod = "full"\n{RATE}\nlong_texts = "windows-max"',
        f'name = "both"\nmethod = "full"\n{RATE}\nlong_texts = "head+tail"',
        f'name = "end"\nmethod = "full"\n{RATE}\nlong_texts = "tail"',
    ]
    answer = tuneoff(
        "run",
        write_study(tmp_path, tiny_model, arms, "windows", max_length=60, epochs=2),
        "--out",
        "out",
        "--no-report",
    )
    assert answer.returncode == 0, answer.stderr + answer.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    test = pd.read_csv(tmp_path / "test.csv")
    for arm in summary["arms"]:
        (run,) = (tmp_path / "out" / "runs").glob(f"{arm['arm']}-seed*")
        stored = pd.read_parquet(run / "predictions.parquet")
        logits = np.stack(stored["logits"].tolist())
        names = np.array(["bad", "good"])
        assert (names[logits.argmax(axis=1)] == test["label"]).mean() == pytest.approx(arm["test_scores"][0])
        told = tuneoff(
            "predict",
            run / "model",
            "--file",
            tmp_path / "test.csv",
            "--text",
            "text",
            "--out",
            f"{arm['arm']}.csv",
            *("--precision", "fp32"),
        )
        assert told.returncode == 0, told.stderr
        predicted = pd.read_csv(tmp_path / f"{arm['arm']}.csv")
        assert (predicted["predicted_label"] == names[logits.argmax(axis=1)]).all(), arm["arm"]
        if arm["arm"] not in EXPORTED:
            continue
        exported = tuneoff("export", tmp_path / "out", "--arm", arm["arm"], "--to", f"exported-{arm['arm']}")
        assert exported.returncode == 0, exported.stderr
        saved = json.loads((tmp_path / f"exported-{arm['arm']}" / "tuneoff.json").read_text())
        assert saved["check"]["changed_labels"] == 0
        assert saved["check"]["largest_difference"] < 1e-3
