"""A model that changes while a study runs, and one that a study does not fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tuneoff as api
from conftest import Command, study_toml
from tuneoff.records.run import RunResult
from tuneoff.runs.run import Run
from tuneoff.study.listener import Silent


class Changes(Silent):
    """Changes a model's weights when a run has ended."""

    def __init__(self, weights: Path) -> None:
        self.weights, self.ended = weights, 0

    def run_finished(self, run: Run, result: RunResult) -> None:
        self.ended += 1
        with self.weights.open("r+b") as file:
            file.seek(-5, 2)
            file.write(b"wxyz")


def test_a_model_that_changes_stops_the_study(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "study.toml").write_text(study_toml(tmp_path / "model", data_files, ["head_only"], seeds=3, epochs=1))
    changes = Changes(tmp_path / "model" / "model.safetensors")
    with pytest.raises(api.UserError, match=r"model\.safetensors was changed while the study ran"):
        api.run_study(api.load_study(tmp_path / "study.toml"), tmp_path / "out", changes, report=False)
    assert changes.ended == 1
    assert len(list((tmp_path / "out" / "runs").glob("*/result.json"))) == 1


def test_plan_refuses_texts_longer_than_the_model_takes(
    tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    toml = study_toml(tiny_model, data_files, ["full"]).replace("max_length = 32", "max_length = 999")
    (tmp_path / "study.toml").write_text(toml)
    answer = tuneoff("plan", "study.toml")
    assert answer.returncode == 2
    assert "at most 64 tokens" in answer.stderr
