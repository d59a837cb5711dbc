"""Runs that share a device as far as its memory goes. A CPU stands for a GPU here; tests/test_gpu.py has a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Command, Install, study_toml

pytest.importorskip("triton", reason="memory is foretold with the kernels of a GPU")

SHARED_CPU = """
from dataclasses import replace

from tuneoff.study.executors.local import LocalExecutor
from tuneoff.study.executors.places import Places

class SharedCpu(LocalExecutor):
    name = "shared-cpu"
    room = {room}

    def __init__(self, execution, training):
        super().__init__(execution, training)
        self._room, self._places = self.room, Places([None], 1, self.room)

    def start(self, task):
        if task.gpu_bytes is not None and {narrow}:
            limited = task.execution.model_copy(update=dict(max_memory="1MB"))
            task = replace(task, execution=limited)
        super().start(task)
"""
ENTRY = ("tuneoff.study.executors", "shared-cpu = tuneoff_more:SharedCpu")
ARMS = ['method = "full"\nlearning_rate = 1e-3', 'method = "lora"\nlora_dropout = 0.0', "frozen_features"]


@pytest.fixture
def study(tiny_model: Path, data_files: Path, tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ARMS, tuning="trials = 2", precision='"bf16"'))
    return path


def results_of(out: Path) -> dict[str, dict[str, Any]]:
    """What runs and trials have stored, by their ids."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("runs/*/result.json"))}


@pytest.mark.long
def test_the_first_seed_of_each_arm_alone_measures_costs(
    install: Install, tuneoff: Command, study: Path, tmp_path: Path
) -> None:
    path = install(SHARED_CPU.format(room=10**12, narrow=False), *ENTRY)
    done = tuneoff("run", study, "--out", tmp_path / "beside", "--executor", "shared-cpu", **path)
    assert done.returncode == 0, done.stderr
    assert "costs are measured with one seed of each arm, which has it alone" in " ".join(done.stdout.split())
    beside = results_of(tmp_path / "beside")
    for result in beside.values():
        alone = result["seed"] == 0 and not result["trial"]
        assert result["conditions"]["shared_device"] is not alone, result["run_id"]
        assert (result["own_seconds"] is None) is alone
    shared = [result for result in beside.values() if result["conditions"]["shared_device"]]
    assert sum(result["trial"] for result in shared) >= 2
    assert all(result["own_seconds"] > 0 for result in shared)
    summary = json.loads((tmp_path / "beside" / "summary.json").read_text())
    for arm in summary["arms"]:
        assert (arm["measured_runs"], arm["times_shared"]) == (1, False)
    assert "(1 of 2 runs)" in (tmp_path / "beside" / "report.md").read_text()

    done = tuneoff("run", "--no-report", study, "--out", tmp_path / "alone", "--workers", "1", **path)
    assert done.returncode == 0, done.stderr
    alone = results_of(tmp_path / "alone")
    assert {name: result.get("predictions_sha256") for name, result in alone.items()} == {
        name: result.get("predictions_sha256") for name, result in beside.items()
    }
    assert not any(result["conditions"]["shared_device"] for result in alone.values())


@pytest.mark.long
def test_what_runs_out_of_memory_beside_others_is_run_by_itself(
    install: Install, tuneoff: Command, study: Path, tmp_path: Path
) -> None:
    path = install(SHARED_CPU.format(room=10**12, narrow=True), *ENTRY)
    done = tuneoff("run", "--no-report", study, "--out", tmp_path / "out", "--executor", "shared-cpu", **path)
    assert done.returncode == 0, done.stderr
    assert "ran out of memory beside other runs, and is run again by itself" in " ".join(done.stdout.split())
    for result in results_of(tmp_path / "out").values():
        assert result["status"] == "ok"
        assert not result["conditions"]["shared_device"]


@pytest.mark.long
def test_arms_that_will_not_fit_are_told_of_before_training(
    install: Install, tuneoff: Command, study: Path, tmp_path: Path
) -> None:
    path = install(SHARED_CPU.format(room=10**9, narrow=False), *ENTRY)  # CUDA itself takes more than half of it
    limits = ["--set", "analysis.max_memory=50MB", "--set", "execution.max_memory=80GB", "--set", "seeds=1"]
    done = tuneoff("run", "--no-report", study, *limits, "--out", tmp_path / "out", "--executor", "shared-cpu", **path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Foretold: ")]
    assert line.startswith("Foretold: full (0.1 GB), lora (0.1 GB)")
    assert "take more in training than analysis.max_memory = 50MB, and will not be recommended" in line
    assert "execution.max_memory" not in done.stdout
    assert "share a GPU" not in done.stdout
    assert not any(result["conditions"]["shared_device"] for result in results_of(tmp_path / "out").values())
