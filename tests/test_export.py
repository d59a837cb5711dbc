"""Exports: what is written loads with plain libraries, says what the run said, and otherwise nothing is written."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from conftest import Command, study_toml
from export_parts import data_of, model_of, stored_logits, texts_of
from tuneoff import load_study, run_study
from tuneoff.analysis.results import StudyResults
from tuneoff.cli import completion
from tuneoff.core.errors import UserError
from tuneoff.export.as_merged import write_merged
from tuneoff.export.choose import choose_run
from tuneoff.export.export import WRITERS, ExportFormat, export_model, free_folder
from tuneoff.export.refit import TRAINED_ON
from tuneoff.export.trained import Trained
from tuneoff.models.saved import SavedFolder


def carried_out(folder: Path, kind: str, classes: int, arms: list[str], seeds: int = 1) -> StudyResults:
    model, data = model_of(kind, folder / "base"), data_of(folder / "texts", classes)
    text = study_toml(model, data, arms, seeds=seeds, epochs=1, precision='"fp32"')
    (folder / "tiny.toml").write_text(text)
    results = run_study(load_study(str(folder / "tiny.toml")), folder / "study", report=False)
    assert not results.failed
    return results


def trained_of(results: StudyResults, arm: str, to: Path, base: str | None = None) -> Trained:
    return Trained.of_run(results, choose_run(results, arm).run, to, base)


def exported(results: StudyResults, arm: str, to: Path, form: ExportFormat = "model") -> Trained:
    trained = trained_of(results, arm, to)
    export_model(trained, free_folder(str(to), results.folder), form, lambda message: None)
    return trained


@torch.no_grad()
def plain_logits(model: Any, folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """Of a model of transformers or peft, in batches of mixed lengths."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    batches = [
        tokenizer(texts[start : start + 7], padding=True, truncation=True, return_tensors="pt")
        for start in range(0, len(texts), 7)
    ]
    return torch.cat([model(**batch).logits for batch in batches]).numpy()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    """A study of RoBERTa, on which peft's own way to merge fails; two seeds."""
    return carried_out(tmp_path_factory.mktemp("roberta"), "roberta", 6, ["lora", "head_only", "frozen_features"], 2)


@pytest.mark.long
def test_the_command_writes_a_model_that_was_checked(study: StudyResults, tuneoff: Command, tmp_path: Path) -> None:
    done = tuneoff("export", study.folder, "--arm", "lora", "--to", "deep/er/reviews", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    folder = Path(told["folder"])
    assert folder == tmp_path / "deep" / "er" / "reviews"
    opened = SavedFolder.open(folder)  # whose files have the hashes that it records
    assert opened.saved.model_dump(mode="json") == told["model"]
    check = opened.saved.check
    assert check is not None
    assert (check.texts, check.test_texts, check.changed_labels, check.batch_size) == (40, 40, 0, 16)
    assert check.tolerance is not None
    assert check.largest_difference <= check.tolerance < 1e-3
    assert check.test_accuracy == check.stored_test_accuracy
    assert {"python", "torch", "transformers", "peft"} <= set(check.versions)
    assert opened.base_folder() == study.folder.parent / "base"
    adapter = json.loads((folder / "adapter_config.json").read_text())
    assert (folder / adapter["base_model_name_or_path"]).resolve() == study.folder.parent / "base"
    assert str(tmp_path) not in "".join(path.read_text() for path in folder.glob("*.json"))

    again = tuneoff("export", study.folder, "--arm", "lora", "--to", "deep/er/reviews")
    assert again.returncode == 2
    assert again.stderr.strip().count("\n") == 0
    assert "not empty" in again.stderr


def test_merged_weights_are_loaded_by_transformers_alone(study: StudyResults, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    trained = trained_of(study, "lora", tmp_path / "merged")
    (tmp_path / "merged").mkdir()
    write_merged(trained, tmp_path / "merged")
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert model.config.num_labels == len(model.config.id2label) == 6
    logits = plain_logits(model, tmp_path / "merged", texts_of(trained))
    np.testing.assert_allclose(logits, stored_logits(trained), atol=1e-4)
    assert SavedFolder.open(tmp_path / "merged").base_folder() is None


@pytest.mark.long
def test_onnx_takes_any_number_and_length_of_texts(study: StudyResults, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from transformers import AutoTokenizer

    trained = exported(study, "frozen_features", tmp_path / "onnx", "onnx")
    assert not list((tmp_path / "onnx").glob("*.safetensors"))
    assert b"site-packages" not in (tmp_path / "onnx" / "model.onnx").read_bytes()  # no path of this machine
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    assert [one.name for one in session.get_inputs()] == ["input_ids", "attention_mask"]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "onnx")
    texts = texts_of(trained)
    for some in (texts[:1], texts[:3], texts):
        encoded = tokenizer(some, padding=True, truncation=True, return_tensors="np")
        logits = session.run(["logits"], {one.name: encoded[one.name] for one in session.get_inputs()})[0]
        np.testing.assert_allclose(logits, stored_logits(trained)[: len(some)], atol=1e-4)


@pytest.mark.long
def test_what_says_something_else_is_not_written(study: StudyResults, tmp_path: Path) -> None:
    trained = trained_of(study, "head_only", tmp_path / "out")
    wrong = trained.predictions.assign(logits=[logits + 0.01 for logits in trained.predictions["logits"]])
    with pytest.raises(UserError, match=r"nothing was written: logits differ by up to 0\.01 .*0 labels of 40 changed"):
        export_model(replace(trained, predictions=wrong), tmp_path / "out", "model", lambda message: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_what_does_not_load_elsewhere_is_not_written(study: StudyResults, tmp_path: Path) -> None:
    trained = trained_of(study, "head_only", tmp_path / "out")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="does not load in a fresh process, so that nothing was written: OSError"):
        export_model(replace(trained, base_folder=empty), tmp_path / "out", "model", lambda message: None)
    assert list(tmp_path.iterdir()) == [empty]


def test_the_run_that_is_exported(study: StudyResults) -> None:
    recommended = study.summary.recommendation
    named = recommended.arm or (recommended.choose_now and recommended.choose_now.arm)
    if named:
        assert choose_run(study).run.arm == named
    else:
        with pytest.raises(UserError, match=r"recommends no arm: .* name one with --arm"):
            choose_run(study)
    with pytest.raises(UserError, match=r"^there is nothing to export yet: no run of .* has succeeded$"):
        choose_run(replace(study, runs=[]))
    best = max(study.of_arm("lora"), key=lambda run: run.validation_accuracy or 0)
    assert choose_run(study, "lora").run.validation_accuracy == best.validation_accuracy
    assert choose_run(study, "lora", seed=1).run.seed == 1
    learning = next(arm.learning for arm in study.summary.arms if arm.arm == "lora")
    assert learning is not None
    warned = any("did not learn" in sentence for sentence in choose_run(study, "lora").why)
    assert warned == (learning.state != "learned")
    with pytest.raises(UserError, match="--seed 7: the study's seeds are 0, 1"):
        choose_run(study, "lora", seed=7)
    with pytest.raises(UserError, match="no arm 'lroa'; did you mean 'lora'"):
        choose_run(study, "lroa")


def test_what_cannot_be_exported_is_said_in_a_line(study: StudyResults, tmp_path: Path) -> None:
    copied = tmp_path / "study"
    shutil.copytree(study.folder, copied)
    results = StudyResults.read(copied)
    run = choose_run(results, "lora").run
    model = copied / "runs" / run.run_id / "model"
    with pytest.raises(UserError, match="which is not where it was; name it with --base FOLDER"):
        Trained.of_run(results, run, tmp_path / "out")
    base = study.folder.parent / "base"
    found = Trained.of_run(results, run, tmp_path / "out", str(base))
    assert found.base.path == os.path.relpath(base, tmp_path / "out")
    with pytest.raises(UserError, match="is not the one that"):
        Trained.of_run(results, run, tmp_path / "out", str(model_of("bert", tmp_path / "other")))
    with pytest.raises(UserError, match="use --format onnx or model"):
        write_merged(trained_of(results, "frozen_features", tmp_path / "out", str(base)), tmp_path)
    weights = model / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"adapter_model.safetensors' is not as it was saved"):
        Trained.of_run(results, run, tmp_path / "out", str(base))
    shutil.rmtree(model)
    with pytest.raises(UserError, match=r"is missing; move .* away"):
        Trained.of_run(results, run, tmp_path / "out", str(base))
    text = (copied / "study.toml").read_text()
    (copied / "study.toml").write_text(text.replace("keep_models = true", "keep_models = false"))
    with pytest.raises(UserError, match="kept no models"):
        Trained.of_run(StudyResults.read(copied), run, tmp_path / "out", str(base))


def test_tab_completes_the_formats() -> None:
    assert completion.exports("") == list(WRITERS)
    assert completion.exports("m") == ["model", "merged"]
    assert completion.refits("") == list(TRAINED_ON)


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "out", "--format", "onxn"], "did you mean 'onnx'"),
        (["--to", "out", "--seed", "best"], "--seed is a number from 0 on, or best-validation"),
        (["--to", "out", "--check", "0"], "--check is a number from 1 on, or all"),
        (["--to", "out", "--arm", "lora", "--recommended"], "give one of them"),
        (["--to", "out", "--seed", "9" * 5000], "--seed is a number from 0 on, or best-validation"),
        (["--to", "file", "--arm", "lora"], "is a file"),
        (["--to", "file/out", "--arm", "lora"], "is a file, in which there can be no folder"),
        (["--to", "", "--arm", "lora"], "--to is empty"),
        (["--to", "out", "--arm", "lora", "--base", ""], "--base is empty"),
    ],
)
def test_options_that_are_wrong(
    study: StudyResults, tuneoff: Command, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "file").touch()
    done = tuneoff("export", study.folder, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_studys_own_folder_takes_no_export(study: StudyResults) -> None:
    for inside in (".", "refits", "runs/exported"):
        with pytest.raises(UserError, match="lies in the study's own folder"):
            free_folder(str(study.folder / inside), study.folder)


@pytest.mark.parametrize("left", [b"", b"PAR1 and no more"])
def test_test_texts_that_are_damaged_are_said_in_a_line(study: StudyResults, tmp_path: Path, left: bytes) -> None:
    path = study.folder / "data" / "test.parquet"
    content = path.read_bytes()
    path.write_bytes(left)
    try:
        with pytest.raises(UserError, match=r"test.parquet: cannot be read: .*") as refused:
            exported(study, "lora", tmp_path / "out")
    finally:
        path.write_bytes(content)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


FULL_DISK = """
import os, sys
from tuneoff.cli import app
from tuneoff.cli.exits import exit_code

for form in ("model", "merged", "onnx"):
    asked = ["export", sys.argv[1], "--arm", "lora", "--to", form, "--format", form]
    print(exit_code(lambda **options: app(asked, **options)), os.listdir())
"""


@pytest.mark.long
def test_a_disk_that_is_full_leaves_nothing(study: StudyResults, tmp_path: Path) -> None:
    command = shlex.join([sys.executable, "-c", FULL_DISK, str(study.folder)])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 4; exec {command}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert [line for line in done.stdout.splitlines() if line[0].isdigit()] == ["2 []"] * 3
    errors = done.stderr.splitlines()
    assert len(errors) == 3
    for form, error in zip(("model", "merged", "onnx"), errors, strict=True):
        assert f"{form} cannot be written" in error
        assert "File too large" in error
