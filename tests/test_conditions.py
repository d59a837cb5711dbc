"""What runs are computed on: in their ids where it changes bits, in their conditions where it changes costs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tuneoff as api
from conftest import Command, study_toml
from stored import dictionaries
from tuneoff.analysis.conditions import differences
from tuneoff.core.files import canonical_hash
from tuneoff.records.conditions import Conditions
from tuneoff.records.run import RESULT_SCHEMA_VERSION
from tuneoff.runs.allocation import Allocation
from tuneoff.study.ahead import Ahead
from tuneoff.study.executors.local import LocalExecutor
from tuneoff.study.listener import Silent
from tuneoff.study.plan import plan_runs
from tuneoff.study.prepare import PreparedStudy, prepare_study

FITTED = 'method = "frozen_features"'
ALL = {"full", "frozen_features"}
ON_CPU = Allocation("cpu", "fp32", devices=1, parallel="none", cores=2)
ON_GPU = Allocation("cuda", "bf16", devices=1, parallel="none", cores=8)


class Notes(Silent):
    """Keeps what was said, and how many runs were planned and done already."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.plan = (0, 0)

    def say(self, message: str) -> None:
        self.said.append(message)

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        self.plan = (runs, done)


@pytest.fixture(scope="module")
def study(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conditions") / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ["full", FITTED], seeds=1, precision='"fp32"', device='"auto"'))
    return path


@pytest.fixture(scope="module")
def prepared(study: Path) -> PreparedStudy:
    return prepare_study(api.load_study(study), study.parent / "prepared", lambda _: None)


@pytest.fixture(scope="module")
def on_one_core(study: Path) -> Path:
    """The study, carried out on one core."""
    assert carried_out(study, study.parent / "one", "execution.cores=1").plan == (2, 0)
    return study.parent / "one"


def carried_out(study: Path, out: Path, *overrides: str) -> Notes:
    notes = Notes()
    spec = api.load_study(study, ["training.device=cpu", *overrides])
    assert api.run_study(spec, out, notes, report=False).failed == []
    return notes


def logits(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.glob("runs/*/predictions.parquet"))
    return {path.parent.name: np.stack(pd.read_parquet(path)["logits"].tolist()).tobytes() for path in paths}


def ids(study: Path, prepared: PreparedStudy, allocation: Allocation, *overrides: str) -> dict[str, str]:
    spec = api.load_study(study, overrides)
    return {run.arm.name: run.id for run in plan_runs(spec, prepared, allocation, lambda _: spec.arms)}


@pytest.mark.parametrize(
    ("first", "other", "same"),
    [
        (ON_CPU, replace(ON_CPU, cores=1), set()),
        (ON_CPU, replace(ON_CPU, precision="bf16"), set()),
        (ON_CPU, replace(ON_CPU, devices=2, parallel="ddp", cores=4), set()),
        (replace(ON_CPU, devices=2, parallel="ddp"), replace(ON_CPU, devices=2, parallel="fsdp"), set()),
        (replace(ON_CPU, devices=2, parallel="ddp"), replace(ON_CPU, devices=2, parallel="ddp", cores=3), ALL),
        (ON_CPU, replace(ON_CPU, shared_device=True), ALL),
        (ON_CPU, replace(ON_CPU, device="cuda"), set()),
        (ON_GPU, replace(ON_GPU, cores=1), {"full"}),
        (ON_GPU, replace(ON_GPU, devices=4, parallel="ddp"), set()),
    ],
)
def test_what_changes_bits_is_in_the_id_and_nothing_else(
    first: Allocation, other: Allocation, same: set[str], study: Path, prepared: PreparedStudy
) -> None:
    found, there = (ids(study, prepared, allocation) for allocation in (first, other))
    assert {name for name in found if found[name] == there[name]} == same


def test_what_auto_comes_to_is_what_counts(study: Path, prepared: PreparedStudy) -> None:
    as_written = {
        (device, precision): api.load_study(study, [f"training.device={device}", f"training.precision={precision}"])
        for device in (["auto", "cpu"] if not torch.cuda.is_available() else ["cpu"])
        for precision in ("auto", "fp32", "bf16")
    }
    found = {
        (device, precision): ids(
            study, prepared, allocation_of(spec), f"training.device={device}", f"training.precision={precision}"
        )
        for (device, precision), spec in as_written.items()
    }
    assert len({tuple(run_ids.values()) for run_ids in found.values()}) == 2, found
    automatic = allocation_of(as_written["cpu", "auto"]).precision
    assert found["cpu", "auto"] == found["cpu", automatic]


def allocation_of(spec: api.StudySpec) -> Allocation:
    with LocalExecutor(spec.execution, spec.training) as executor:
        return executor.allocation


def test_the_same_command_trains_nothing_again(study: Path, on_one_core: Path, tmp_path: Path) -> None:
    shutil.copytree(on_one_core, tmp_path / "out", symlinks=True)
    before = logits(tmp_path / "out")
    notes = carried_out(study, tmp_path / "out", "execution.cores=1", "execution.workers=2")
    assert notes.plan == (2, 2)
    assert not [line for line in notes.said if "do not count" in line]
    assert logits(tmp_path / "out") == before
    toml = (tmp_path / "out" / "study.toml").read_text()
    assert 'devices_per_run = "auto"' in toml, "what the user wrote is what is kept"


@pytest.mark.long
def test_results_of_another_number_of_cores_stay_and_do_not_count(
    study: Path, on_one_core: Path, tmp_path: Path
) -> None:
    shutil.copytree(on_one_core, tmp_path / "out", symlinks=True)
    one = logits(tmp_path / "out")
    notes = carried_out(study, tmp_path / "out", "execution.cores=2")
    (line,) = (line for line in notes.said if "do not count" in line)
    assert line.startswith(
        "2 stored results do not count, computed otherwise than runs are now: 2 with cores 1 (now 2)"
    )
    assert "\n" not in line
    both = logits(tmp_path / "out")
    two = {name: both[name] for name in both.keys() - one.keys()}
    assert len(two) == len(one) == 2
    assert {name: both[name] for name in one} == one
    assert {run["conditions"]["cores"] for run in dictionaries(api.load_results(tmp_path / "out").runs)} == {2}

    carried_out(study, tmp_path / "again", "execution.cores=2")
    assert logits(tmp_path / "again") == two, "to the bit"
    carried_out(study, tmp_path / "once more", "execution.cores=1")
    assert logits(tmp_path / "once more") == one, "to the bit"

    notes = carried_out(study, tmp_path / "out", "execution.cores=1", "seeds=2")
    assert notes.plan == (4, 2), "what was computed on one core counts again"
    assert not [line for line in notes.said if "do not count" in line], "each is computed either way"


def test_results_of_the_version_before_are_refused_in_one_line(
    study: Path, on_one_core: Path, tuneoff: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(on_one_core, out, symlinks=True)
    _alter(out, lambda result: result.update(schema_version=RESULT_SCHEMA_VERSION - 1))
    (out / "report.html").write_text("a page")
    for command in ("status", "report", "recommend"):
        answer = tuneoff(command, out)
        assert answer.returncode == 2, answer.stdout
        assert answer.stderr.startswith(f"tuneoff: {out} was written by another version of tuneoff")
        assert f"tuneoff run {out}/study.toml --out {out} trains its runs anew" in answer.stderr
        assert answer.stderr.count("\n") == 1
    assert (out / "report.html").read_text() == "a page"
    other = tmp_path / "other.toml"
    other.write_text(study.read_text().replace("epochs = 2", "epochs = 1"))
    notes = carried_out(other, out, "execution.cores=1")
    assert notes.plan == (2, 0)
    assert [line for line in notes.said if line.startswith("2 stored results") and "2 by another version" in line]
    assert {run["conditions"]["cores"] for run in dictionaries(api.load_results(out).runs)} == {1}


def _alter(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        del result["sha256"]
        change(result)
        path.write_text(json.dumps({**result, "sha256": canonical_hash(result)}))


@pytest.mark.parametrize(
    ("changed", "same_arm", "told"),
    [
        ({}, True, []),
        ({"device": "NVIDIA A100"}, False, ["device: NVIDIA H100 and NVIDIA A100"]),
        ({"precision": "fp32", "devices": 2}, False, ["devices: 1 and 2", "precision: bf16 and fp32"]),
        ({"cores": 4}, False, []),
        ({"shared_device": True}, False, ["shared device: no and yes"]),
        ({"versions": {"torch": "2.12", "bitsandbytes": "0.49"}}, False, ["versions.torch: 2.13 and 2.12"]),
        ({"engine": {"batches": "padded", "micro_batch_size": 16}}, False, []),
        (
            {"engine": {"batches": "packed", "micro_batch_size": 8, "token_slots": [512]}},
            True,
            ["engine.micro_batch_size: 16 and 8"],
        ),
    ],
)
def test_conditions_say_how_they_differ_in_what_costs_depend_on(
    changed: dict[str, Any], same_arm: bool, told: list[str]
) -> None:
    here = Conditions(
        device_type="cuda",
        device="NVIDIA H100",
        devices=1,
        parallel="none",
        precision="bf16",
        cores=16,
        shared_device=False,
        engine={"batches": "packed", "micro_batch_size": 16, "token_slots": [1024, 2048]},
        versions={"torch": "2.13"},
        system="Linux x86_64",
    )
    there = Conditions.model_validate({**here.model_dump(), **changed})
    assert differences(conditions.costs_depend_on(same_arm) for conditions in (here, there)) == told


def test_results_of_every_kind_have_conditions(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    """Also one that diverged, one that an error ended, and one whose process was ended from outside."""
    study = tmp_path / "study.toml"
    arms = ['method = "full"\nname = "wild"\nlearning_rate = 1e9', "head_only"]
    study.write_text(study_toml(tiny_model, data_files, arms, seeds=1))
    runs = dictionaries(api.run_study(api.load_study(study), tmp_path / "out", report=False).runs)
    limited = dictionaries(
        api.run_study(api.load_study(study, ["execution.max_memory=50MB"]), tmp_path / "limited", report=False).runs
    )
    assert [run["status"] for run in [*runs, *limited]] == ["diverged", "ok", "oom", "oom"]
    for run in [*runs, *limited]:
        conditions = Conditions.model_validate(run["conditions"])
        assert (conditions.device_type, conditions.devices) == ("cpu", 1)
        assert (conditions.engine is None) is (run["status"] == "oom")
