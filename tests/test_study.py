"""A whole study through the command line: what it writes, that it resumes, that it repeats to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tuneoff as api
from conftest import Command, reviews, study_toml
from plainly import plain_answers
from stored import dictionaries

ARMS = ["full", "qlora", "head_only"]
"""Saved whole, as an adapter of a base model in 4 bits, and as a head alone; `test_saved_models` has every method."""


@pytest.fixture(scope="module")
def study_folder(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of three methods, two seeds."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.toml").write_text(study_toml(tiny_model, data_files, ARMS))
    results = api.run_study(api.load_study(folder / "study.toml"), folder / "out")
    assert results.failed == []
    return folder / "out"


def test_every_contracted_file_is_there(study_folder: Path) -> None:
    for name in ("study.toml", "environment.json", "summary.json", "report.html", "report.md", "data/audit.json"):
        assert (study_folder / name).stat().st_size > 0
    for chart in ("accuracy", "trainable_parameters", "training_time", "peak_memory"):
        assert (study_folder / "charts" / f"{chart}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (study_folder / "charts" / f"{chart}.svg").read_text()
    runs = list((study_folder / "runs").iterdir())
    assert len(runs) == len(ARMS) * 2
    for run in runs:
        names = {path.name for path in run.iterdir()}
        assert names == {"result.json", "predictions.parquet", "log.txt", "model"}
    assert not list(study_folder.rglob("*.tmp"))


def test_result_json_keeps_its_contract(study_folder: Path) -> None:
    fields = {
        "schema_version", "arm", "method", "seed", "status", "learning_rate", "test_accuracy", "test_macro_f1",
        "validation_accuracy", "parameters", "train_seconds", "setup_seconds", "eval_seconds", "wall_seconds",
        "train_examples_per_second", "peak_memory_bytes", "memory_kind", "checkpoint_bytes", "steps", "curve",
        "conditions",
    }  # fmt: skip
    for path in study_folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        assert fields <= result.keys()
        assert set(result["parameters"]) == {"total", "backbone", "adapter", "head", "trainable"}
        assert set(result["peak_memory_bytes"]) == {"train", "eval", "reserved"}
        assert result["memory_kind"] == "process_rss"
        assert result["steps"] == 2 * 18  # 144 training examples, 8 a step
        assert len(result["curve"]) == 2
        assert 0 < result["train_seconds"] < result["wall_seconds"]
        frame = pd.read_parquet(path.parent / "predictions.parquet")
        assert np.isclose((frame["label"] == frame["prediction"]).mean(), result["test_accuracy"])


def test_the_summary_and_the_reports_agree(study_folder: Path) -> None:
    summary = json.loads((study_folder / "summary.json").read_text())
    assert {"arms", "baselines", "comparisons", "pareto", "recommendation", "audit"} <= summary.keys()
    assert [arm["arm"] for arm in summary["arms"]] == ARMS
    assert len(summary["comparisons"]) == 3
    page, text = ((study_folder / name).read_text() for name in ("report.html", "report.md"))
    for arm in summary["arms"]:
        interval = arm["test_accuracy"]
        assert interval["ci_low"] <= interval["mean"] <= interval["ci_high"]
        shown = f"{100 * interval['mean']:.1f}%"
        assert shown in page
        assert f"| {arm['arm']} | {shown}" in text


def test_a_second_run_trains_nothing_and_writes_no_more_than_it_is_asked_for(
    study_folder: Path, tuneoff: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(
        study_folder, out, symlinks=True, ignore=shutil.ignore_patterns("report.*", "charts", "summary.json")
    )
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")}
    answer = tuneoff("run", study_folder / "study.toml", "--out", out, "--no-report")
    assert answer.returncode == 0, answer.stderr
    assert "nothing to train" in answer.stdout
    assert "report.html" not in answer.stdout
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")} == before
    assert (out / "summary.json").read_bytes() == (study_folder / "summary.json").read_bytes()
    assert not [*out.glob("report.*"), *out.glob("charts/*")]


def test_predictions_repeat_to_the_bit_and_only_what_is_missing_is_run(study_folder: Path, tmp_path: Path) -> None:
    spec = api.load_study(study_folder / "study.toml", ["seeds=[1]"])
    again = api.run_study(spec, tmp_path / "again", report=False)
    for run in dictionaries(again.runs):
        first, second = (
            np.stack(pd.read_parquet(folder / "runs" / run["run_id"] / "predictions.parquet")["logits"].tolist())
            for folder in (study_folder, tmp_path / "again")
        )
        np.testing.assert_array_equal(first, second)

    lost = dictionaries(again.runs)[2]["run_id"]
    (tmp_path / "again" / "runs" / lost / "result.json").write_text('{"schema_version": 1, "run_')
    kept = {run["run_id"]: run["wall_seconds"] for run in dictionaries(again.runs)}
    once_more = api.run_study(spec, tmp_path / "again", report=False)
    changed = [run["run_id"] for run in dictionaries(once_more.runs) if run["wall_seconds"] != kept[run["run_id"]]]
    assert changed == [lost]


@pytest.mark.long
def test_a_failed_run_stays_in_the_table(tiny_model: Path, data_files: Path, tuneoff: Command, tmp_path: Path) -> None:
    hopeless = 'method = "full"\nname = "hopeless"\nlearning_rate = 1e30'
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["head_only", hopeless], seeds=1))
    answer = tuneoff("run", "study.toml")
    assert answer.returncode == 1, answer.stderr
    assert "hopeless (1 failed)" in answer.stdout
    assert "learning rate" in answer.stdout
    summary = json.loads((tmp_path / "studies-out" / "tiny" / "summary.json").read_text())
    assert summary["recommendation"]["arm"] is None
    assert "hopeless" in (tmp_path / "studies-out" / "tiny" / "report.html").read_text()


def test_status_report_and_plan_as_json(study_folder: Path, tuneoff: Command) -> None:
    status = json.loads(tuneoff("status", study_folder, "--json").stdout)
    assert [state["state"] for state in status["runs"]] == ["ok"] * 6
    assert status["driver"] is None
    summary = json.loads(tuneoff("report", study_folder, "--json").stdout)
    assert summary == json.loads((study_folder / "summary.json").read_text())
    plan = json.loads(tuneoff("plan", study_folder / "study.toml", "--json").stdout)
    results = api.load_results(study_folder)
    for arm in plan["arms"]:
        assert arm["parameters"] == results.of_arm(arm["arm"])[0].parameters.model_dump()
    assert plan["runs"] == 6


def test_results_as_a_frame(study_folder: Path) -> None:
    frame = api.load_results(study_folder).to_pandas()
    assert len(frame) == 6
    assert set(frame["arm"]) == set(ARMS)
    assert (frame["parameters.trainable"] > 0).all()


def test_saved_models_predict_what_was_stored(study_folder: Path, data_files: Path) -> None:
    results = api.load_results(study_folder)
    texts = pd.read_csv(data_files / "test.csv")["text"].tolist()
    runs = [results.runs_by_seed(arm)[0][0].run_id for arm in ARMS]
    answers = plain_answers([study_folder / "runs" / run / "model" for run in runs], texts)
    for run, answer in zip(runs, answers, strict=True):
        stored = np.stack(pd.read_parquet(study_folder / "runs" / run / "predictions.parquet")["logits"].tolist())
        np.testing.assert_allclose(answer.padded, stored, atol=0.05)
        assert (answer.padded.argmax(1) == stored.argmax(1)).mean() > 0.95
        assert answer.labels == ["0", "1"]


@pytest.mark.long
def test_run_study_from_a_script_without_a_main_guard(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["head_only"], seeds=1, epochs=1))
    (tmp_path / "script.py").write_text(
        "import tuneoff\nprint('started')\n"
        "results = tuneoff.run_study(tuneoff.load_study('study.toml'), 'out')\nprint(len(results.runs))\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["started", "1"], done.stderr


@pytest.mark.long
def test_the_quickstart_on_its_real_model(tuneoff: Command, tmp_path: Path) -> None:
    small = ["seeds=1", "training.epochs=1", "data.train_size=64", "data.validation_size=16", "data.test_size=32"]
    answer = tuneoff("run", *(word for setting in small for word in ("--set", setting)))
    assert answer.returncode == 0, answer.stderr
    summary = json.loads((tmp_path / "studies-out" / "quickstart" / "summary.json").read_text())
    assert [arm["method"] for arm in summary["arms"]] == ["full", "lora", "ia3", "head_only"]
    assert all(arm["runs"] == 1 for arm in summary["arms"])
    assert summary["breakdown"]["column"] == "kind"
    assert "report.html" in answer.stdout
    assert {arm["parameters"]["head"] for arm in summary["arms"]} == {770}


def test_a_second_run_at_once_is_refused(tiny_model: Path, data_files: Path, tuneoff: Command, tmp_path: Path) -> None:
    import filelock

    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["full"]))
    (tmp_path / "out").mkdir()
    with filelock.FileLock(tmp_path / "out" / ".lock"):
        answer = tuneoff("run", "study.toml", "--out", "out")
    assert answer.returncode == 2
    assert "another tuneoff" in answer.stderr


@pytest.mark.long
def test_a_study_that_accepts_an_error_says_so_beside_every_accuracy(
    tuneoff: Command, tiny_model: Path, tmp_path: Path
) -> None:
    sorted_rows = reviews(200, seed=0).sort_values("label", kind="stable")
    for name in ("train.csv", "test.csv"):
        sorted_rows.assign(text=name + " " + sorted_rows["text"]).to_csv(tmp_path / name, index=False)
    study = study_toml(tiny_model, tmp_path, ["head_only"], seeds=1, epochs=1)
    first_rows = '[data]\nsampling = "first"\ntrain_size = 40\nvalidation_size = 10\ntest_size = 40'
    (tmp_path / "study.toml").write_text(study.replace("[data]", first_rows))
    refused = tuneoff("run", "study.toml", "--out", "out")
    assert refused.returncode == 2
    assert "100%" in refused.stderr
    audit = tuneoff("audit", "study.toml", "--json")
    assert audit.returncode == 2
    errors = {finding["name"] for finding in json.loads(audit.stdout) if finding["severity"] == "error"}
    assert "one-class-split" in errors
    accepted = ", ".join(f'"{name}"' for name in sorted(errors))
    answer = tuneoff("run", "study.toml", "--out", "out", "--set", f"data.accept=[{accepted}]")
    assert answer.returncode == 0, answer.stderr
    assert "100.0% (means nothing)" in answer.stdout
    for name in ("report.md", "report.html"):
        report = (tmp_path / "out" / name).read_text()
        assert "100.0% (means nothing)" in report
        assert "These accuracies mean nothing" in report
