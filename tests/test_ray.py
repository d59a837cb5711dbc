"""Studies on Ray: a local one, a cluster that loses a node, a request to stop. The results are the local executor's."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

import tuneoff as api
from conftest import Command, study_toml
from processes import Driver
from tuneoff.records.run import RunResult
from tuneoff.runs.progress import RunProgress
from tuneoff.spec import ExecutionSpec, TrainingSpec
from tuneoff.study.executors import ray_cluster, ray_files
from tuneoff.study.executors.ray_cluster import Needs
from tuneoff.study.listener import Silent

pytestmark = pytest.mark.long
pytest.importorskip("ray", reason="Ray is not installed (the extra 'cluster')")

ARMS = ["full", "lora", "ia3"]
EPOCHS = 10
STEPS = 18 * EPOCHS  # 144 training examples, 8 a step
SETTINGS = ["execution.cores=1", "execution.checkpoint_every=10"]
MARK = "TUNEOFF_TEST_MARK"


@pytest.fixture(scope="module")
def study(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ray") / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ARMS, seeds=1, epochs=EPOCHS, precision='"fp32"'))
    return path


@pytest.fixture(scope="module")
def reference(study: Path) -> dict[str, Any]:
    """Logits of every run, from the local executor."""
    out = study.parent / "local"
    api.run_study(api.load_study(study, [*SETTINGS, "execution.workers=2"]), out, report=False)
    return logits_by_run(out)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster on this machine: a head that carries out nothing, and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    finally:
        cluster.shutdown()


def logits_by_run(folder: Path) -> dict[str, Any]:
    return {
        path.parent.name: np.stack(pd.read_parquet(path)["logits"].tolist())
        for path in folder.glob("runs/*/predictions.parquet")
    }


def results_by_run(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("runs/*/result.json")}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for run_id, logits in found.items():
        np.testing.assert_array_equal(logits, expected[run_id], err_msg=run_id)


def until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def marked_processes(mark: str) -> list[str]:
    """The processes that descend from a command with this mark in its environment, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_a_local_ray_gives_what_the_local_executor_gives(
    reference: dict[str, Any], study: Path, tiny_model: Path, data_files: Path, tuneoff: Command, tmp_path: Path
) -> None:
    one_arm = study_toml(tiny_model, data_files, ["lora"], seeds=1, epochs=EPOCHS, precision='"fp32"')
    (tmp_path / "study.toml").write_text(one_arm)
    mark = uuid.uuid4().hex
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    environment = {"RAY_ADDRESS": "", MARK: mark}
    answer = tuneoff("run", "--no-report", "study.toml", "--executor", "ray", "--out", "out", *settings, **environment)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    found = logits_by_run(tmp_path / "out")
    assert len(found) == 1
    assert_same(found, {run_id: reference[run_id] for run_id in found})
    (run_folder,) = (tmp_path / "out" / "runs").iterdir()
    assert {path.name for path in run_folder.iterdir()} == {"result.json", "predictions.parquet", "log.txt", "model"}
    adapter = json.loads((run_folder / "model" / "adapter_config.json").read_text())
    assert (run_folder / "model" / adapter["base_model_name_or_path"]).resolve() == tiny_model.resolve()
    until(lambda: not marked_processes(mark), "all processes have ended", 20)


class LosesANode(Silent):
    """Takes a node from the cluster, with all its processes, while runs are on both."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._steps: dict[str, int] = {}
        self.lost: list[psutil.Process] = []
        self.notes: list[str] = []
        self.started: list[str] = []
        self.finished: list[str] = []

    def run_started(self, run: Any) -> None:
        self.started.append(run.id)

    def run_finished(self, run: Any, result: RunResult) -> None:
        self.finished.append(run.id)
        self._steps[run.id] = result.steps

    def say(self, message: str) -> None:
        self.notes.append(message)

    @property
    def steps(self) -> int:
        return sum(self._steps.values())

    def progressed(self, run: Any, progress: RunProgress) -> None:
        assert progress.steps <= run.steps == STEPS
        self._steps[run.id] = progress.steps
        if not self.lost and self.steps > 60 and not self.finished and self._busy_nodes() == 2:
            node = next(iter(self._cluster.worker_nodes))
            self.lost = _descendants(node)
            self._cluster.remove_node(node, allow_graceful=False)

    def _busy_nodes(self) -> int:
        names = [[process.name() for process in _descendants(node)] for node in self._cluster.worker_nodes]
        return sum(any("carry_out" in name for name in on_node) for on_node in names)


def _descendants(node: Any) -> list[psutil.Process]:
    (raylet,) = (information.process.pid for information in node.all_processes["raylet"])
    return psutil.Process(raylet).children(recursive=True)


def test_a_study_outlives_a_node(
    reference: dict[str, Any], study: Path, cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    listener = LosesANode(cluster)
    out = study.parent / "cluster"
    spec = api.load_study(study, [*SETTINGS, "execution.executor=ray"])
    capfd.readouterr()
    results = api.run_study(spec, out, listener, report=False)
    assert "ray" not in "".join(capfd.readouterr())
    assert listener.lost
    assert results.failed == []
    assert_same(logits_by_run(out), reference)
    assert [note for note in listener.notes if "goes on from its checkpoint" in note]
    assert sorted(listener.started) == sorted(listener.finished) == sorted(reference)
    assert listener.steps == STEPS * len(ARMS)
    resumed = [result["run_id"] for result in results_by_run(out).values() if result["resumed"]]
    assert len(resumed) == 1
    assert not [path for path in out.rglob("*") if path.name in ("checkpoint.pt", "progress.json")]
    until(lambda: not any(process.is_running() for process in listener.lost), "the lost node's processes end", 30)


def test_ctrl_c_brings_checkpoints_back_and_the_study_goes_on(
    reference: dict[str, Any], study: Path, tuneoff: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mark = uuid.uuid4().hex
    three_at_a_time = ["--executor", "ray", "--workers", "3"]  # on two cores one of them waits in Ray

    def under_way() -> bool:
        assert process.poll() is None
        steps = [json.loads(path.read_text())["step"] for path in out.glob("runs/*/progress.json")]
        return sum(step > 5 for step in steps) >= 1

    process = Driver(study, out, *three_at_a_time, fresh=False, RAY_ADDRESS="", **{MARK: mark})
    try:
        until(under_way, "a run is under way")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to Ray's processes too
        code = process.wait(60)
    finally:
        process.kill()
    printed, complaints = process.printed()
    assert code == 130, complaints
    assert complaints in ("", "tuneoff: interrupted; the same command goes on from here\n")
    assert "Traceback" not in printed
    until(lambda: not marked_processes(mark), "all processes have ended", 20)
    interrupted = [result["run_id"] for result in results_by_run(out).values() if result["status"] == "interrupted"]
    saved = [path.parent.name for path in out.glob("runs/*/checkpoint.pt")]
    assert saved
    assert set(saved) <= set(interrupted)

    # What came back is all that it takes to go on.
    done = tuneoff("run", "--no-report", study, "--out", out, "--executor", "local", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert_same(logits_by_run(out), reference)
    results = results_by_run(out)
    assert all(results[run_id]["resumed"] for run_id in saved)
    assert "goes on after step" in (out / "runs" / saved[0] / "log.txt").read_text()


def test_ray_missing_is_one_line(study: Path, tuneoff: Command, tmp_path: Path) -> None:
    (tmp_path / "path" / "ray").mkdir(parents=True)
    (tmp_path / "path" / "ray" / "__init__.py").write_text("raise ImportError('not here')")
    answer = tuneoff(
        "run", "--no-report", study, "--executor", "ray", "--out", "out", PYTHONPATH=str(tmp_path / "path")
    )
    assert answer.returncode == 2
    assert answer.stderr == "tuneoff: execution.executor = 'ray' needs Ray: pip install 'tuneoff[cluster]'\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [("127.0.0.1:9", "answers within 4 seconds"), ("ray://127.0.0.1:10001", "cannot be used"), ("auto", "cannot be")],
)
def test_a_cluster_that_does_not_answer_is_one_line(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneoff.study.executors.ray import RayExecutor

    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray_cluster, "ANSWER_WITHIN_SECONDS", 4)
    with pytest.raises(api.UserError, match=said) as refused:
        RayExecutor(ExecutionSpec(executor="ray"), TrainingSpec(device="cpu"))
    assert "\n" not in str(refused.value)


def test_how_many_runs_fit_on_a_node() -> None:
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 9e9}
    assert Needs(2).fit(node) == 4
    assert Needs(2, memory_bytes=4 * 10**9).fit(node) == 2
    assert Needs(1, gpus=1).fit(node) == 2
    assert Needs(16).fit(node) == 0
    assert Needs(1, gpus=1).fit({"CPU": 8.0}) == 0


def test_a_node_fetches_a_folder_once_and_again_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_files, "PIECE_BYTES", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    source = tmp_path / "model"
    (source / "deep").mkdir(parents=True)
    contents = {"weights": os.urandom(2500), "empty": b"", "deep/config": b"{}"}
    for name, content in contents.items():
        (source / name).write_bytes(content)
    fetched: list[Any] = []

    def get(piece: Any) -> Any:
        fetched.append(piece)
        return piece

    ray = SimpleNamespace(put=lambda piece: piece.copy(), get=get)
    folder = ray_files.send_folder(ray, source, [source / name for name in contents])
    assert [len(piece) for piece in folder.files["weights"].pieces] == [1000, 1000, 500]

    place = ray_files.unpack(ray, folder)
    assert {name: (place / name).read_bytes() for name in contents} == contents
    assert len(fetched) == 4
    assert ray_files.unpack(ray, folder) == place
    assert len(fetched) == 4
    (place / "weights").unlink()
    assert (ray_files.unpack(ray, folder) / "weights").read_bytes() == contents["weights"]
