"""Studies of runs in two processes: the same results as in one, and nothing left behind when one dies."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

import tuneoff as api
from commands import run_command, server_for
from conftest import study_toml
from plainly import plain_answers
from processes import Interrupter, logits
from stored import dictionaries, scored_run, unfinished_run
from tuneoff.records.run import RunResult, ScoredRun
from tuneoff.records.saved_model import BaseModel, TextRules
from tuneoff.runs import process_group as group
from tuneoff.runs.allocation import Allocation
from tuneoff.runs.process import ForkServer
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.run import Run
from tuneoff.runs.task import Outcome, RunTask
from tuneoff.spec import ExecutionSpec, TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.study.listener import Silent

pytestmark = pytest.mark.long
RANKS = 2
ARMS = ["full", 'method = "lora"\nlora_dropout = 0.0', "head_only"]
QLORA = 'method = "qlora"\nlora_dropout = 0.0'
DEVICES = f"execution.devices_per_run={RANKS}"


@pytest.fixture(scope="module")
def studies(
    steady_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, api.StudyResults]:
    """The same study in one process a run, and in two: 144 examples, 13 a step, so that the last batch holds one.

    One of them goes through the command line.
    """
    folder = tmp_path_factory.mktemp("studies")
    found = {}
    for parallel, arms in {"none": [*ARMS, QLORA], "ddp": [*ARMS, QLORA], "fsdp": ARMS}.items():
        study = study_toml(
            steady_model, data_files, arms, seeds=1, batch_size=13, precision='"fp32"', parallel=f'"{parallel}"'
        )
        (folder / f"{parallel}.toml").write_text(study)
        if parallel == "fsdp":
            command = ["run", "fsdp.toml", "--out", "fsdp", "--set", DEVICES]
            answer = run_command(command, folder, {**os.environ}, 300, server_for("run"))
            assert answer.returncode == 0, answer.stderr
            found[parallel] = api.load_results(folder / parallel)
        else:
            spec = api.load_study(folder / f"{parallel}.toml", [] if parallel == "none" else [DEVICES])
            found[parallel] = api.run_study(spec, folder / parallel, report=False)
        assert found[parallel].failed == []
    return found


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_study_on_two_devices_finds_what_one_device_finds(
    parallel: str, studies: dict[str, api.StudyResults]
) -> None:
    for run in studies[parallel].runs:
        assert isinstance(run, ScoredRun)
        alone = studies["none"].runs_by_seed(run.arm)[0][0]
        np.testing.assert_allclose(
            logits(studies[parallel].folder, run.run_id), logits(studies["none"].folder, alone.run_id), atol=2e-4
        )
        for score in ("test_accuracy", "validation_accuracy", "parameters", "steps", "checkpoint_bytes"):
            assert getattr(run, score) == getattr(alone, score), score
        for entry, expected in zip(run.curve, alone.curve, strict=True):
            assert entry.train_loss == pytest.approx(expected.train_loss, rel=1e-4)
        assert (run.conditions.devices, alone.conditions.devices) == (RANKS, 1)
        engine = run.conditions.engine
        assert engine is not None
        assert engine["parallel"] == parallel
        assert "not CUDA" in str(engine["why_no_graph"])
        assert run.memory_parts is not None  # of the process that needed the most
        assert run.memory_parts.total == pytest.approx(run.peak_memory_bytes.train, rel=0.02)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_models_from_two_devices_predict_what_was_stored(
    parallel: str, studies: dict[str, api.StudyResults], data_files: Path
) -> None:
    results = studies[parallel]
    texts = pd.read_csv(data_files / "test.csv")["text"].tolist()
    runs = [results.runs_by_seed(arm)[0][0] for arm in ("full", "lora")]
    folders = [results.folder / "runs" / run.run_id for run in runs]
    for run, answer in zip(runs, plain_answers([folder / "model" for folder in folders], texts), strict=True):
        np.testing.assert_allclose(answer.padded, logits(results.folder, run.run_id), atol=1e-3)
    names = {path.name for path in folders[-1].iterdir()}
    assert names == {"result.json", "predictions.parquet", "log.txt", "log-1.txt", "model"}
    saved = [
        torch.cat([value.flatten() for _, value in sorted(_read(results_of, "head_only").items())])
        for results_of in (studies["none"], results)
    ]
    torch.testing.assert_close(saved[0], saved[1], rtol=1e-4, atol=1e-5)


def _read(results: api.StudyResults, arm: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    run = results.runs_by_seed(arm)[0][0]
    return load_file(results.folder / "runs" / run.run_id / "model" / "adapter_model.safetensors")


class Killer(Silent):
    """Kills one of a run's processes once steps are reported."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.killed = False

    def progressed(self, run: Run, progress: RunProgress) -> None:
        if progress.steps and not self.killed:
            for process in psutil.Process().children(recursive=True):
                if any(Path(file.path).name == self.log for file in process.open_files()):
                    process.kill()
                    self.killed = True

    def run_finished(self, run: Run, result: RunResult) -> None:
        del run, result
        self.left = [process.pid for process in psutil.Process().children(recursive=True) if _has_log(process)]


def _has_log(process: psutil.Process) -> bool:
    try:
        return any(Path(file.path).suffix == ".txt" for file in process.open_files())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("log", "who"), [("log.txt", "process 1 of 2"), ("log-1.txt", "process 2 of 2")])
def test_a_run_fails_with_the_process_that_dies(
    log: str, who: str, steady_model: Path, data_files: Path, tmp_path: Path
) -> None:
    study = study_toml(steady_model, data_files, ["head_only"], seeds=1, epochs=2000, parallel='"ddp"')
    (tmp_path / "study.toml").write_text(study)
    killer = Killer(log)
    results = api.run_study(api.load_study(tmp_path / "study.toml", [DEVICES]), tmp_path / "out", killer, report=False)
    assert killer.killed
    (run,) = dictionaries(results.runs)
    assert run["status"] == "failed"
    assert run["error"].startswith(f"{who}: the run's process was killed by SIGKILL")
    assert "its log ends: head_only" in run["error"]
    assert killer.left == []


def test_an_interrupted_run_goes_on_where_it_stopped(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    study = study_toml(tiny_model, data_files, ["lora"], seeds=1, epochs=6, parallel='"ddp"')
    (tmp_path / "study.toml").write_text(study)
    spec = api.load_study(tmp_path / "study.toml", [DEVICES])
    with pytest.raises(KeyboardInterrupt):
        api.run_study(spec, tmp_path / "interrupted", Interrupter(after=10), report=False)
    (stopped,) = dictionaries(api.load_results(tmp_path / "interrupted").runs)
    assert stopped["status"] == "interrupted"
    resumed, straight = (api.run_study(spec, tmp_path / out, report=False) for out in ("interrupted", "straight"))
    assert [dictionaries(results.runs)[0]["resumed"] for results in (resumed, straight)] == [True, False]
    np.testing.assert_array_equal(
        logits(resumed.folder, resumed.runs[0].run_id), logits(straight.folder, straight.runs[0].run_id)
    )


class Scripted:
    """Stands in for `RunProcess`: ends with what the script says."""

    def __init__(self, script: dict[int, Outcome | None], task: Any) -> None:
        self._outcome = script[task.process.rank]

    def poll(self) -> tuple[RunProgress | None, Outcome | None]:
        return None, self._outcome


OK = Outcome(scored_run())
DONE = Outcome(None)
OOM = Outcome(unfinished_run("oom", "CUDA out of memory"), failed_at=1.0)
LOST = Outcome(unfinished_run("failed", "Connection closed by peer"), failed_at=2.0)
KILLED = Outcome(unfinished_run("failed", "killed"))


@pytest.mark.parametrize(
    ("script", "status", "error"),
    [
        ({0: OK, 1: DONE}, "ok", None),
        ({0: LOST, 1: OOM}, "oom", "process 2 of 2: CUDA out of memory"),
        ({0: LOST, 1: KILLED}, "failed", "process 2 of 2: killed"),
        ({0: None, 1: KILLED}, "failed", "process 2 of 2: killed"),
        ({0: OOM, 1: OOM}, "oom", "CUDA out of memory"),
    ],
)
def test_a_group_tells_cause_from_consequence(
    script: dict[int, Outcome | None], status: str, error: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "RunProcess", lambda _server, task, _gpu: Scripted(script, task))
    monkeypatch.setattr(group, "GRACE_SECONDS", 0.0)
    arm = METHODS.classes()["full"].model_validate({"method": "full"})
    allocation = Allocation("cpu", "fp32", devices=RANKS, parallel="ddp", cores=2)
    here = Path()
    task = RunTask(
        Run("run", arm, 0, 1),
        TrainingSpec(),
        ExecutionSpec(),
        here,
        here,
        here,
        0,
        study="",
        base=BaseModel(id="", fingerprint=""),
        texts=TextRules(label_names=("0", "1"), max_length=8),
        keep_model=True,
        allocation=allocation,
    )
    watched = group.RunGroup(ForkServer(), task)
    watched.poll()
    _, outcome = watched.poll()
    assert outcome is not None
    assert outcome.result is not None
    assert (outcome.result.status, outcome.failure and outcome.failure.error) == (status, error)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            ["training.parallel=fsdp", DEVICES],
            "arm 'qlora': training.parallel = 'fsdp' cannot share out quantised weights",
        ),
        ([DEVICES], "execution.devices_per_run above 1 needs training.parallel"),
        (["training.parallel=fsdp", "training.compile=true"], "compile and parallel = 'fsdp'"),
        (["training.parallel=zero"], "training.parallel"),
    ],
)
def test_what_does_not_go_together_is_refused(
    settings: list[str], expected: str, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["full", QLORA]))
    with pytest.raises(api.UserError, match=re.escape(expected)) as raised:
        api.run_study(api.load_study(tmp_path / "study.toml", settings), tmp_path / "out", report=False)
    assert len(str(raised.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_gpus_are_taken_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneoff.measure.environment import visible_gpus
    from tuneoff.study.executors.local import in_groups

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,4,5,7")
    assert in_groups(visible_gpus(), 2) == ["0,3", "4,5"]
