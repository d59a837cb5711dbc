"""Tuned studies of tasks without an accuracy, or with another objective: trials find a rate, reports show them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Command
from tasks_data import write_labels, write_numbers, write_study

ARMS = ['method = "full"', 'method = "head_only"\nlearning_rate = 1e-2']
TASKS = {
    "numbers": ('task = "regression"\nlabel = "stars"', write_numbers),
    "labels": ('task = "multi_label"\nlabel = "topics"\nlabel_separator = "|"', write_labels),
}


@pytest.mark.parametrize("strategy", ["grid", "optuna"])
@pytest.mark.parametrize("task", TASKS)
def test_trials_find_a_rate(task: str, strategy: str, tiny_model: Path, tmp_path: Path, tuneoff: Command) -> None:
    data, write = TASKS[task]
    write(tmp_path / "train.csv", 120, seed=1)
    write(tmp_path / "test.csv", 60, seed=2)
    tuning = f'trials = 3\nstrategy = "{strategy}"'
    study = write_study(tmp_path, tiny_model, data, ARMS, epochs=2, seeds=1, tuning=tuning)
    done = tuneoff("run", study, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (tuned,) = summary["tuning"]["arms"]
    rates = {trial["learning_rate"]: trial for trial in tuned["trials"]}
    assert len(rates) >= 3
    assert tuned["chosen"] in rates
    assert all(trial["validation_score"] is not None and trial["score"] is not None for trial in rates.values())
    assert {arm["arm"]: arm["learning_rate"] for arm in summary["arms"]}["full"] == tuned["chosen"]
    report = (tmp_path / "out" / "report.md").read_text()
    assert f"{tuned['chosen']:g}" in report
    assert not {"None", "nan"} & set(report.split())
    again = tuneoff("run", study, "--out", "out")
    assert again.returncode == 0, again.stderr
    assert "trials to train" not in again.stdout
