"""What a study cost: the time of its runs and trials at the price an hour that the user names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from commands import run_command, server_for
from conftest import Command, study_toml
from tuneoff.analysis.arm_costs import device_seconds
from tuneoff.api import load_results
from tuneoff.records.run import TrainedRun


@pytest.fixture(scope="module")
def finished(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a study that names a price, and what the command printed that carried it out."""
    folder = tmp_path_factory.mktemp("money")
    path = folder / "study.toml"
    arms = ["full", 'name = "tuned"\nmethod = "head_only"\nlearning_rate_range = [1e-3, 1e-2]']
    toml = study_toml(tiny_model, data_files, arms, epochs=1, tuning="trials = 2")
    path.write_text(f'{toml}\n[analysis]\nprice_per_hour = 7.2\ncurrency = "EUR"\n')
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    answer = run_command(["run", str(path), "--out", "out"], folder, environment, 300, server_for("run"))
    assert answer.returncode == 0, answer.stderr
    return folder / "out", answer.stdout


def test_runs_trials_and_the_study_cost_what_their_time_does(finished: tuple[Path, str], tuneoff: Command) -> None:
    out, printed = finished
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    results: list[dict[str, Any]] = [json.loads(path.read_text()) for path in out.glob("runs/*/result.json")]
    results = [result for result in results if result["status"] == "ok"]
    assert any(result["trial"] for result in results)
    money = summary["money"]
    a_second = 7.2 / 3600
    assert money["study"] == pytest.approx(a_second * sum(result["wall_seconds"] for result in results))
    assert money["trials"] == pytest.approx(a_second * sum(one["wall_seconds"] for one in results if one["trial"]))
    for arm in summary["arms"]:
        own = [result for result in results if result["arm"] == arm["arm"]]
        runs = [result["wall_seconds"] for result in own if not result["trial"]]
        assert len(runs) == 2
        assert money["arms"][arm["arm"]]["run"] == pytest.approx(a_second * sum(runs) / 2)
        assert money["arms"][arm["arm"]]["in_study"] == pytest.approx(
            a_second * sum(one["wall_seconds"] for one in own)
        )
        assert arm["device_seconds"] == pytest.approx(sum(runs) / 2)
    assert "device_seconds" in summary["pareto"] or not summary["pareto"]

    report = (out / "report.md").read_text()
    assert "cost a run" in report
    assert "at 7.20 EUR an hour" in report
    assert "of which tuning" in printed
    assert tuneoff("report", out, "--format", "csv").returncode == 0
    assert "device_seconds" in pd.read_csv(out / "report.csv")
    said = tuneoff("recommend", out, "--prefer", "cost", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["prefer"] == "cost"


def test_without_a_price_nothing_is_said_of_money(
    tiny_model: Path, data_files: Path, tuneoff: Command, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["head_only"], seeds=1, epochs=1))
    answer = tuneoff("run", "study.toml", "--out", "out")
    assert answer.returncode == 0, answer.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["money"] is None
    assert "cost" not in (tmp_path / "out" / "report.md").read_text().lower().replace("costs", "")
    wrong = tuneoff("run", "study.toml", "--set", "analysis.price_per_hour=0", "--out", "other")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "price_per_hour" in wrong.stderr


def test_a_run_on_several_gpus_is_paid_for_each(finished: tuple[Path, str]) -> None:
    run = load_results(finished[0]).runs[0]
    assert isinstance(run, TrainedRun)
    assert device_seconds(run) == run.wall_seconds
    for kind, times in (("cuda", 4), ("cpu", 1)):
        conditions = run.conditions.model_copy(update={"device_type": kind, "devices": 4})
        assert device_seconds(run.model_copy(update={"conditions": conditions})) == times * run.wall_seconds
