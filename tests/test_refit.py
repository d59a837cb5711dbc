"""Refits: a run trained once more on more rows is the run that a study of those rows would have made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import tuneoff as api
from conftest import reviews, study_toml
from tuneoff.core.errors import UserError
from tuneoff.export.refit import Refitted, refit
from tuneoff.records.run import ScoredRun
from tuneoff.records.saved_model import RefitRows, SavedModel
from tuneoff.serving.predictor import Predictor
from tuneoff.study.listener import Silent
from tuneoff.study.lock import locked

ARMS = ["lora", "frozen_features"]
ROWS: dict[RefitRows, list[str]] = {"train+validation": ["train", "validation"], "all": ["train", "validation", "test"]}


class Heard(Silent):
    """A listener that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def _split_rows(folder: Path) -> dict[str, pd.DataFrame]:
    """Files of three splits."""
    frames = {
        "train": reviews(64, seed=1),
        "validation": reviews(32, seed=2, first_row=1000),
        "test": reviews(40, seed=3, first_row=2000),
    }
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return frames


def _study(
    model: Path,
    data: Path,
    out: Path,
    train: str = "train.csv",
    arms: list[str] = ARMS,
    further: str = "",
) -> api.StudyResults:
    toml = study_toml(model, data, arms, seeds=1)
    toml = toml.replace('train.csv"', f'{train}"\nvalidation = "{data / "validation.csv"}"{further}')
    out.parent.mkdir(exist_ok=True)
    (out.parent / f"{out.name}.toml").write_text(toml)
    results = api.run_study(api.load_study(out.parent / f"{out.name}.toml"), out, report=False)
    assert results.failed == []
    return results


def _run(results: api.StudyResults, arm: str, part: str = "") -> ScoredRun:
    (run,) = [run for run in results.runs if run.arm == arm and run.part == part]
    assert isinstance(run, ScoredRun)
    return run


def _logits(frame: pd.DataFrame) -> NDArray[np.float32]:
    return np.stack(frame["logits"].tolist())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refit-data")
    frames = _split_rows(folder)
    for rows, splits in ROWS.items():
        pd.concat([frames[split] for split in splits]).to_csv(folder / f"{rows}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def results(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> api.StudyResults:
    return _study(tiny_model, data, tmp_path_factory.mktemp("refit") / "out")


@pytest.mark.parametrize("rows", list(ROWS))
def test_a_refit_is_the_run_of_a_study_of_those_rows(
    rows: RefitRows, results: api.StudyResults, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    # Labels of test rows that are trained on are what the audit would stop, and are what is wanted here.
    accept = "\naccept = ['test-in-train']"
    expected = _study(tiny_model, data, tmp_path / "joined", f"{rows}.csv", further=accept)
    for arm in ARMS:
        run = _run(results, arm)
        refitted = refit(results, run, rows)
        stored = api.load_results(expected.folder).predictions(arm)[0]
        np.testing.assert_array_equal(_logits(refitted.predictions()), _logits(stored))
        assert not np.array_equal(_logits(stored), _logits(results.predictions(arm)[0]))
        np.testing.assert_array_equal(refitted.predictions()["label"], stored["label"])
        _check_record(refitted, run, rows, _run(expected, arm))
        _check_model(refitted, rows, data)


def _check_record(refitted: Refitted, run: ScoredRun, rows: RefitRows, expected: ScoredRun) -> None:
    record = refitted.record
    assert record == type(record).model_validate_json((refitted.folder / "refit.json").read_text())
    assert (record.run_id, record.seed, record.learning_rate) == (run.run_id, run.seed, run.learning_rate)
    assert record.steps == expected.steps
    assert record.examples == {split: {"train": 64, "validation": 32, "test": 40}[split] for split in ROWS[rows]}
    if rows == "all":
        assert record.test is None
    else:
        assert record.test is not None
        assert (record.test.accuracy, record.test.examples) == (expected.test_accuracy, 40)
        assert record.test.macro_f1 == expected.test_macro_f1
    assert {path.name for path in refitted.folder.iterdir()} == {"model", "predictions.parquet", "refit.json"}
    for path in refitted.folder.rglob("*.json"):
        assert "validation_accuracy" not in path.read_text()


def _check_model(refitted: Refitted, rows: RefitRows, data: Path) -> None:
    saved = SavedModel.model_validate_json((refitted.model / "tuneoff.json").read_text())
    assert (saved.refit, saved.run_id) == (rows, refitted.record.refit_id)
    words = {"train+validation": "trained once more on train and validation", "all": "on all labelled rows"}[rows]
    assert words in (refitted.model / "README.md").read_text()
    texts = pd.read_csv(data / "test.csv")["text"].tolist()
    predictor = Predictor({"": refitted.model}, device="cpu", precision=refitted.record.conditions.precision)
    np.testing.assert_array_equal(predictor.logits(texts), _logits(refitted.predictions()))


def test_what_only_validation_shows_is_learned_from_it(tiny_model: Path, tmp_path: Path) -> None:
    frames = _split_rows(tmp_path)
    # In validation and test half of the texts are of one word that no training text has, and of class 1.
    odd = pd.DataFrame({"text": [f"superb superb superb {row}" for row in range(40)], "label": 1})
    only = {"train": frames["train"].assign(text=lambda frame: frame["text"].str.replace("superb", "awful"))}
    only |= {name: pd.concat([frames[name], odd.iloc[start::2]]) for start, name in enumerate(("validation", "test"))}
    only["train"]["label"] = only["train"]["text"].str.contains("good|great|lovely").astype(int)
    for name, frame in only.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    results = _study(tiny_model, tmp_path, tmp_path / "out", arms=["frozen_features"])
    before = results.predictions("frozen_features")[0]
    after = refit(results, _run(results, "frozen_features"), "train+validation").predictions()

    def confidence(frame: pd.DataFrame) -> float:
        logits = _logits(frame)[-20:]
        return float((logits[:, 1] - logits[:, 0]).mean())

    assert confidence(after) > confidence(before) + 1


def test_a_refit_is_not_repeated_and_one_that_was_changed_is_made_again(results: api.StudyResults) -> None:
    heard = Heard()
    run = _run(results, "lora")
    first = refit(results, run, "train+validation", listener=heard)
    weights = first.model / "adapter_model.safetensors"
    content, predictions = weights.read_bytes(), (first.folder / "predictions.parquet").read_bytes()
    written = weights.stat().st_mtime_ns
    again = Heard()
    assert refit(results, run, "train+validation", listener=again) == first
    assert weights.stat().st_mtime_ns == written
    assert again.lines == ["lora was trained on train and validation before; that refit is used"]
    weights.write_bytes(content[:-1])
    refit(results, run, "train+validation")
    assert weights.read_bytes() == content
    assert (first.folder / "predictions.parquet").read_bytes() == predictions


def test_what_is_said_of_a_refit(results: api.StudyResults) -> None:
    import shutil

    shutil.rmtree(results.folder / "refits", ignore_errors=True)
    for rows, words in (("train+validation", "(96 examples)"), ("all", "(136 examples)")):
        heard = Heard()
        refit(results, _run(results, "frozen_features"), rows, listener=heard)  # type: ignore[arg-type]
        (line,) = heard.lines
        assert words in line
        assert ("test accuracy" in line) == (rows == "train+validation")
        assert ("not tested, since no labelled row was left" in line) == (rows == "all")


def test_a_refit_that_cannot_be_leaves_nothing(results: api.StudyResults, tiny_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in tiny_model.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    before = sorted(results.folder.rglob("*"))
    with pytest.raises(UserError, match="is not the one that the study was made with"):
        refit(results, _run(results, "lora"), "all", base=str(other))
    with pytest.raises(UserError, match="name it with --base FOLDER"):
        refit(results, _run(results, "lora"), "all", base=str(tmp_path / "nowhere"))
    with locked(results.folder), pytest.raises(UserError, match=r"\) is at work in .*; wait until it has ended"):
        refit(results, _run(results, "lora"), "all")
    labels = results.folder / "data" / "test" / "labels.npy"
    content = labels.read_bytes()
    labels.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        with pytest.raises(UserError, match=r"test/labels.npy is missing or has been changed"):
            refit(results, _run(results, "lora"), "all")
    finally:
        labels.write_bytes(content)
    assert sorted(results.folder.rglob("*")) == before


def test_a_refit_that_diverges_or_does_not_learn_is_not_handed_over(results: api.StudyResults) -> None:
    (results.folder / "refits").mkdir(exist_ok=True)
    before = sorted((results.folder / "refits").iterdir())
    wild = _run(results, "lora").model_copy(update={"learning_rate": 900.0, "run_id": "wild"})
    with pytest.raises(UserError, match=r"the refit of lora came to no end \(diverged\): the training loss is"):
        refit(results, wild, "all")
    learned = _run(results, "lora").model_copy(update={"loss_trace": ((16, 0.01),), "run_id": "learned"})
    with pytest.raises(UserError, match="the refit of lora did not learn, as the study's run did"):
        refit(results, learned, "all")
    assert sorted((results.folder / "refits").iterdir()) == before


@pytest.mark.long
def test_refits_of_folds_and_of_training_sizes(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    for name, option in (("folds", "folds = 3"), ("sizes", "train_sizes = [16, 48]")):
        toml = study_toml(tiny_model, data_files, ["frozen_features"], seeds=1).replace("[data]", f"[data]\n{option}")
        if name == "folds":
            toml = toml.replace(f'test = "{data_files / "test.csv"}"', "")
        (tmp_path / f"{name}.toml").write_text(toml)
        results = api.run_study(api.load_study(tmp_path / f"{name}.toml"), tmp_path / name, report=False)
        part = "fold-1" if name == "folds" else "train-48"
        run = _run(results, "frozen_features", part)
        sizes = results.prepared.part(part).sizes
        less, more = refit(results, run, "train+validation"), refit(results, run, "all")
        assert less.record.examples == {"train": sizes["train"], "validation": sizes["validation"]}
        assert more.record.examples == sizes
        assert less.record.test is not None
        assert less.record.test.examples == sizes["test"] == len(more.predictions())
        assert less.record.part == part
        if name == "folds":
            assert sum(more.record.examples.values()) == 160  # all rows of the study


INTERRUPTED = """
import os, signal, sys
import tuneoff as api
from tuneoff.export.refit import refit
from tuneoff.study.listener import Silent

class Impatient(Silent):
    def progressed(self, run, progress):
        if 0 < progress.steps < run.steps:
            os.kill(os.getpid(), signal.SIGINT)

results = api.load_results(sys.argv[1])
try:
    refit(results, results.runs[0], "all", listener=Impatient())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.long
def test_a_refit_goes_on_from_where_it_was_interrupted(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    results = _study(tiny_model, data, tmp_path / "out", arms=["lora"])
    training = results.spec.training.model_copy(update={"epochs": 12, "batch_size": 4})  # of 34 steps each
    spec = results.spec.model_copy(update={"training": training})
    (results.folder / "study.toml").write_text(spec.to_toml())
    command = [sys.executable, "-c", INTERRUPTED, str(results.folder)]
    assert subprocess.run(command, cwd=tmp_path, timeout=240, check=False).returncode == 130
    (folder,) = (results.folder / "refits").iterdir()
    left = {path.name for path in folder.iterdir()}
    assert "checkpoint.pt" in left
    assert not left & {"refit.json", "model", "data", "predictions.parquet"}
    assert not list(results.folder.rglob("*.tmp"))
    results = api.load_results(results.folder)
    went_on = refit(results, _run(results, "lora"), "all")
    logits = _logits(went_on.predictions())
    (folder / "refit.json").unlink()
    np.testing.assert_array_equal(_logits(refit(results, _run(results, "lora"), "all").predictions()), logits)
