"""Faults that are really caused: crashes, hangs, full disks, damaged files, interruptions. The study survives each."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import tuneoff as api
from commands import ENVIRONMENT, run_command, server_for
from conftest import ONE_CORE, Command, study_toml
from processes import (
    SABOTAGE,
    Driver,
    alive_in_session,
    assert_same_predictions,
    fill,
    logits,
    main_here,
    run_process,
    run_processes,
    small_disk,
    stop_fork_server,
    wait_until,
)
from stored import dictionaries, dictionary
from tuneoff.records.run import RunResult
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.run import Run
from tuneoff.study.ahead import Ahead
from tuneoff.study.store import Store

UNDISTURBED = ENVIRONMENT.get("PYTHONPATH", "")
SHORT, LONG = 1, 12
"""Epochs of 18 steps each."""


@pytest.fixture(scope="module", autouse=True)
def _runs_can_be_sabotaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("sabotage")
    (folder / "sitecustomize.py").write_text(SABOTAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
        stop_fork_server()
        yield  # and then the fork server stays, since a new one imports for seconds: it sends itself no signals


@pytest.fixture
def tuneoff(tuneoff: Command) -> Command:
    """As in other tests; the command line itself needs no sabotage."""
    return partial(tuneoff, PYTHONPATH=UNDISTURBED)


StudyFile = Callable[..., Path]


@pytest.fixture(scope="module")
def study_file(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyFile:
    """Writes a study file with an arm for each name; an arm trains a LoRA unless told otherwise."""

    def write(names: Sequence[str] = ("lora",), epochs: int = SHORT, seeds: int = 1, method: str = "lora") -> Path:
        arms = [f'method = "{method}"\nname = "{name}"\nlearning_rate = 3e-3' for name in names]
        text = study_toml(tiny_model, data_files, arms, seeds=seeds, epochs=epochs, precision='"fp32"')
        path = tmp_path_factory.mktemp("study") / "study.toml"
        path.write_text(text.replace(ONE_CORE, f"{ONE_CORE}\ncheckpoint_every = 5"))
        return path

    return write


@pytest.fixture(scope="module")
def long_study(study_file: StudyFile, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study of one long run, and the folder of one that nobody disturbed."""
    study = study_file(epochs=LONG)
    reference = tmp_path_factory.mktemp("reference") / "out"
    assert not api.run_study(api.load_study(study), reference, report=False).failed
    return study, reference


class Witness:
    """Listens to a study in this process, and does something to the runs it is told to hurt.

    `faults` holds, by the name of an arm, what is called with the run's process once `after` steps are done.
    """

    def __init__(self, faults: dict[str, Callable[[psutil.Process], Any]] | None = None, after: int = 1) -> None:
        self.said: list[str] = []
        self.planned_runs = (0, 0)
        self._faults = dict(faults or {})
        self._after = after

    def say(self, message: str) -> None:
        self.said.append(message)

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        self.planned_runs = (runs, done)

    def run_started(self, run: Run) -> None:
        self.starts(run)

    def starts(self, run: Run) -> None:
        """For a subclass to do something when a run starts."""

    def progressed(self, run: Run, progress: RunProgress) -> None:
        if progress.steps >= self._after and run.arm.name in self._faults:
            fault = self._faults.pop(run.arm.name)
            fault(run_process(os.getpid(), run.id))

    def run_finished(self, run: Run, result: RunResult) -> None:
        pass


def send(number: signal.Signals) -> Callable[[psutil.Process], None]:
    return lambda process: process.send_signal(number)


def stamps(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every stored result, with when it was written."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("runs/*/result.json")}


def by_arm(results: api.StudyResults) -> dict[str, dict[str, Any]]:
    return {run["arm"]: run for run in dictionaries(results.runs)}


@pytest.mark.long
def test_a_process_that_dies_is_a_failed_run_and_can_be_retried(study_file: StudyFile, tmp_path: Path) -> None:
    spec = api.load_study(study_file(["segfaults", "is_killed", "exits", "is_fine"], epochs=4))
    deaths = {"segfaults": signal.SIGSEGV, "is_killed": signal.SIGKILL, "exits": signal.SIGUSR1}
    results = api.run_study(
        spec, tmp_path, Witness({arm: send(number) for arm, number in deaths.items()}), report=False
    )

    runs = by_arm(results)
    assert {arm: run["status"] for arm, run in runs.items()} == {**dict.fromkeys(deaths, "failed"), "is_fine": "ok"}
    for arm, expected in (
        ("segfaults", "killed by SIGSEGV; its log ends"),
        ("segfaults", "Fatal Python error: Segmentation fault"),
        ("is_killed", "killed by SIGKILL, which the kernel does when memory runs out"),
        ("exits", "died with exit code 7"),
        ("exits", "'trainable': 4226}"),
    ):
        assert expected in runs[arm]["error"]
        assert "\n" not in runs[arm]["error"]
    assert "training/" in (tmp_path / "runs" / runs["segfaults"]["run_id"] / "log.txt").read_text()
    assert [arm["failed"] != [] for arm in dictionary(results.summary)["arms"]] == [True, True, True, False]

    before = stamps(tmp_path)
    again = Witness()
    assert len(api.run_study(spec, tmp_path, again, report=False).failed) == 3
    assert again.planned_runs == (4, 4)
    assert stamps(tmp_path) == before

    assert api.run_study(spec, tmp_path, retry_failed=True, report=False).failed == []
    changed = {path.parent.name for path, stamp in stamps(tmp_path).items() if stamp != before[path]}
    assert changed == {runs[arm]["run_id"] for arm in deaths}


@pytest.mark.long
def test_a_fork_server_that_dies_is_started_again(study_file: StudyFile, tmp_path: Path) -> None:
    spec = api.load_study(study_file(["first", "second"], epochs=4))
    results = api.run_study(spec, tmp_path, Witness({"first": lambda process: process.parent().kill()}), report=False)
    assert [run["status"] for run in dictionaries(results.runs)] == ["failed", "ok"]
    assert run_processes(os.getpid()) == []


@pytest.mark.long
def test_memory_without_end_is_stopped_at_the_limit(study_file: StudyFile, tmp_path: Path) -> None:
    spec = api.load_study(study_file(["hoards", "is_fine"], epochs=4), ["execution.max_memory=1GB"])
    runs = by_arm(api.run_study(spec, tmp_path, Witness({"hoards": send(signal.SIGUSR2)}), report=False))
    assert runs["hoards"]["status"] == "oom"
    assert runs["hoards"]["error"] == "used more memory than execution.max_memory = 1GB"
    assert 1e9 < runs["hoards"]["peak_memory_bytes"]["train"] < 3e9
    assert runs["is_fine"]["status"] == "ok"


@pytest.mark.long
def test_a_run_that_hangs_is_ended_in_time(study_file: StudyFile, tmp_path: Path) -> None:
    spec = api.load_study(study_file(["hangs"], epochs=LONG), ["execution.max_run_time=6s"])
    began = time.monotonic()
    (run,) = dictionaries(api.run_study(spec, tmp_path, Witness({"hangs": send(signal.SIGSTOP)}), report=False).runs)
    assert run["status"] == "timeout"
    assert run["error"] == "took longer than execution.max_run_time = 6s"
    assert 6 < time.monotonic() - began < 30
    assert run_processes(os.getpid()) == []


def test_after_running_out_of_memory_gradients_are_accumulated(study_file: StudyFile, tmp_path: Path) -> None:
    study = study_file(epochs=4)
    plain = dictionaries(api.run_study(api.load_study(study), tmp_path / "plain", report=False).runs)[0]
    auto = ["training.auto_batch=true", "execution.max_memory=1GB"]
    witness = Witness({"lora": send(signal.SIGUSR2)}, after=10)
    run = dictionaries(api.run_study(api.load_study(study, auto), tmp_path / "auto", witness, report=False).runs)[0]
    assert run["status"] == "ok"
    assert tuple(each["conditions"]["engine"]["micro_batch_size"] for each in (plain, run)) == (8, 4)
    assert run["steps"] == plain["steps"]
    assert any("max_memory = 1GB; trying again with 4 sequences at once" in line for line in witness.said)
    log = (tmp_path / "auto" / "runs" / run["run_id"] / "log.txt").read_text()
    assert "the run starts anew: it was reached with 8 sequences at once, not 4" in log
    np.testing.assert_allclose(
        logits(tmp_path / "auto", run["run_id"]), logits(tmp_path / "plain", plain["run_id"]), atol=0.02
    )


def test_a_single_sequence_that_is_too_much_is_out_of_memory(study_file: StudyFile, tmp_path: Path) -> None:
    spec = api.load_study(study_file(), ["training.auto_batch=true", "execution.max_memory=50MB"])
    witness = Witness()
    (run,) = dictionaries(api.run_study(spec, tmp_path, witness, report=False).runs)
    assert run["status"] == "oom"
    assert [line.rsplit(" with ")[1] for line in witness.said if "trying again" in line] == [
        f"{count} sequences at once" for count in (4, 2, 1)
    ]


@pytest.mark.long
def test_fail_fast_stops_the_others_at_a_checkpoint(study_file: StudyFile, tmp_path: Path) -> None:
    spec = api.load_study(
        study_file(["goes_on", "fails", "waits"], epochs=5 * LONG), ["execution.fail_fast=true", "execution.workers=2"]
    )
    witness = Witness({"fails": send(signal.SIGKILL)}, after=10)
    results = api.run_study(spec, tmp_path, witness, report=False)
    states = {state["arm"]: state["state"] for state in _status(tmp_path)["runs"]}
    assert states == {"goes_on": "interrupted", "fails": "failed", "waits": "left"}
    assert [run.arm for run in results.failed] == ["fails"]
    assert dictionary(results.summary)["runs"] == {"planned": 3, "done": 1, "failed": 1}
    assert "stopping, since a run has failed (execution.fail_fast)" in witness.said

    rest = api.run_study(api.load_study(tmp_path / "study.toml", ["execution.fail_fast=false"]), tmp_path, report=False)
    assert {arm: run["status"] for arm, run in by_arm(rest).items()} == {
        "goes_on": "ok",
        "fails": "failed",
        "waits": "ok",
    }
    assert by_arm(rest)["goes_on"]["resumed"]


def _status(folder: Path) -> Any:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": UNDISTURBED}
    shown = run_command(["status", str(folder), "--json"], folder, environment, 60, server_for("status"))
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def test_fail_fast_and_retry_from_the_command_line(
    study_file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_file(["hopeless", "waits"])
    out = str(tmp_path / "out")
    hopeless = ["--set", "arms.hopeless.learning_rate=1e30"]
    assert main_here(monkeypatch, "run", str(study), "--out", out, "--fail-fast", *hopeless) == 1
    assert "stopping, since a run has failed" in capsys.readouterr().out
    assert not list(Path(out).glob("runs/waits*/result.json"))

    log = next(Path(out).glob("runs/hopeless*/log.txt"))
    once = log.read_text().count("hopeless-seed0-")
    assert main_here(monkeypatch, "retry", out, "--set", "execution.fail_fast=false") == 1
    assert "1 of 2 runs to train" in capsys.readouterr().out  # what diverged would diverge again
    assert log.read_text().count("hopeless-seed0-") == once
    assert list(Path(out).glob("runs/waits*/predictions.parquet"))
    assert main_here(monkeypatch, "retry", str(tmp_path / "nowhere")) == 2


def _start(study: Path, out: Path) -> Driver:
    """`tuneoff run`, once its first run has a checkpoint."""
    driver = Driver(study, out, PYTHONPATH=UNDISTURBED)
    wait_until(lambda: driver.poll() is not None or list(out.glob("runs/*/checkpoint.pt")), 120)
    assert driver.poll() is None, driver.printed()
    return driver


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(other, marks=pytest.mark.long) for other in (signal.SIGTERM, signal.SIGHUP))],
)
def test_one_signal_stops_at_a_checkpoint_and_the_same_command_goes_on(
    number: signal.Signals, long_study: tuple[Path, Path], tmp_path: Path
) -> None:
    study, reference = long_study
    driver = _start(study, tmp_path / "out")
    os.killpg(driver.pid, number)  # as a terminal does: all processes of the group get it
    code = driver.wait(60)
    out, err = driver.printed()
    assert code == 130, (out, err)
    assert err == "tuneoff: interrupted; the same command goes on from here\n"
    assert "stopping after the step under way" in out
    wait_until(lambda: alive_in_session(driver.pid) == [], 5)

    (state,) = _status(tmp_path / "out")["runs"]
    assert state["state"] == "interrupted"
    assert _status(tmp_path / "out")["driver"] is None
    (run,) = dictionaries(api.run_study(api.load_study(study), tmp_path / "out", report=False).runs)
    assert run["status"] == "ok"
    assert run["resumed"]
    log = (tmp_path / "out" / "runs" / run["run_id"] / "log.txt").read_text()
    assert log.count("goes on after step") == 1
    assert_same_predictions(tmp_path / "out", reference, [run["run_id"]])
    assert not list(tmp_path.rglob("checkpoint.pt"))
    assert not list(tmp_path.rglob("*.tmp"))


def test_two_signals_stop_at_once(study_file: StudyFile, tmp_path: Path) -> None:
    def hang_and_interrupt(process: psutil.Process) -> None:
        process.suspend()
        os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()

    spec = api.load_study(study_file(epochs=LONG))
    began = time.monotonic()
    witness = Witness({"lora": hang_and_interrupt})
    with pytest.raises(KeyboardInterrupt):
        api.run_study(spec, tmp_path, witness, report=False)
    assert 1.5 < time.monotonic() - began < 60  # the study would take longer by far
    assert "stopping after the step under way; Ctrl-C again stops at once" in witness.said
    assert run_processes(os.getpid()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.long
def test_a_driver_is_seen_refuses_others_and_leaves_nothing_when_killed(
    long_study: tuple[Path, Path], tuneoff: Command, tmp_path: Path
) -> None:
    study, reference = long_study
    out = tmp_path / "out"
    driver = _start(study, out)
    run_id = next(out.glob("runs/*")).name
    run = run_process(driver.pid, run_id)
    run.suspend()
    suspended = time.monotonic()

    status = _status(out)
    assert status["driver"]["pid"] == driver.pid
    assert [state["state"] for state in status["runs"]] == ["running"]
    shown = tuneoff("status", out).stdout
    assert "1 run: 0 done, 1 running, 0 failed, 0 left" in shown
    second = tuneoff("run", "--no-report", study, "--out", out)
    assert second.returncode == 2
    assert second.stderr.startswith(f"tuneoff: another tuneoff (process {driver.pid} on ")
    assert len(second.stderr.splitlines()) == 1

    time.sleep(max(0.0, suspended + 5 - time.monotonic()))  # training time, which is to count once
    counted = time.monotonic() - suspended
    written = (out / "runs" / run_id / "checkpoint.pt").stat().st_mtime_ns
    run.resume()
    wait_until(lambda: (out / "runs" / run_id / "checkpoint.pt").stat().st_mtime_ns != written)
    run.suspend()
    time.sleep(counted)  # time that is lost, and is not to count
    driver.kill()
    wait_until(lambda: alive_in_session(driver.pid) == [], 10)
    driver.wait()
    assert (out / "driver.json").exists()
    status = _status(out)
    assert status["driver"] is None
    assert [state["state"] for state in status["runs"]] == ["left"]

    (result,) = dictionaries(api.run_study(api.load_study(study), out, report=False).runs)
    assert result["resumed"]
    assert counted < result["curve"][0]["train_seconds"] < 1.9 * counted
    assert result["train_seconds"] < result["wall_seconds"] < result["train_seconds"] + counted
    assert_same_predictions(out, reference, [run_id])


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _edit(**fields: Any) -> Callable[[Path], Any]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | fields))


DAMAGES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "truncated": ("result.json", _truncate, "result.json cannot be read"),
    "empty": ("result.json", lambda path: path.write_text(""), "result.json cannot be read"),
    "no text": ("result.json", lambda path: path.write_bytes(b"\xff\xfe"), "result.json cannot be read"),
    "null": ("result.json", lambda path: path.write_text("null"), "result.json holds no result"),
    "list": ("result.json", lambda path: path.write_text("[]"), "result.json holds no result"),
    "improved": ("result.json", _edit(test_accuracy=1.0), "result.json has been changed"),
    "of another version": ("result.json", _edit(schema_version=1), "written by another version of tuneoff"),
    "of another run": ("result.json", _edit(run_id="other-seed0-0123456789"), "result.json belongs to another run"),
    "predictions tampered with": ("predictions.parquet", _flip, "predictions are missing or have been changed"),
    "predictions truncated": ("predictions.parquet", _truncate, "predictions are missing or have been changed"),
    "predictions lost": ("predictions.parquet", Path.unlink, "predictions are missing or have been changed"),
}


def test_results_that_cannot_be_trusted_are_set_aside_and_run_again(
    study_file: StudyFile, long_study: tuple[Path, Path], tmp_path: Path
) -> None:
    (folder,) = (long_study[1] / "runs").iterdir()
    for name, (file, damage, expected) in DAMAGES.items():
        copy = tmp_path / name / "runs" / folder.name
        shutil.copytree(folder, copy)
        damage(copy / file)
        result, why = Store(tmp_path / name).examine(folder.name)
        assert result is None
        assert expected in str(why)

    damages = [DAMAGES[name] for name in ("truncated", "improved", "predictions lost")]
    spec = api.load_study(study_file(["head_only"], seeds=len(damages) + 1, method="head_only"))
    whole = api.run_study(spec, tmp_path / "whole", report=False)
    runs = [run["run_id"] for run in dictionaries(whole.runs)]
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    for run_id, (file, damage, _) in zip(runs, damages, strict=False):
        damage(tmp_path / "out" / "runs" / run_id / file)
    before = stamps(tmp_path / "out")
    assert len(api.load_results(tmp_path / "out").runs) == 1

    witness = Witness()
    again = api.run_study(spec, tmp_path / "out", witness, report=False)
    for run_id, (_, _, expected) in zip(runs, damages, strict=False):
        (line,) = [said for said in witness.said if said.startswith(f"{run_id}: ")]
        assert expected in line
        assert f"set aside in {tmp_path / 'out' / 'set-aside' / run_id}-1" in line
        assert (tmp_path / "out" / "set-aside" / f"{run_id}-1" / "log.txt").exists()
    assert [run["run_id"] for run in dictionaries(again.runs)] == runs
    assert again.failed == []
    assert_same_predictions(tmp_path / "out", tmp_path / "whole", runs)
    trusted = tmp_path / "out" / "runs" / runs[-1] / "result.json"
    assert stamps(tmp_path / "out")[trusted] == before[trusted]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("train/ids.npy", _truncate),
        ("test/labels.npy", _flip),
        ("test.parquet", Path.unlink),
        ("prepared.json", _truncate),
        ("prepared.json", _edit(sizes={"train": 1, "validation": 1, "test": 1})),
        ("manifest.json", lambda path: path.write_text("null")),
    ],
    ids=["truncated", "tampered with", "lost", "description truncated", "description edited", "manifest broken"],
)
def test_prepared_data_that_was_changed_is_prepared_again(
    file: str, damage: Callable[[Path], Any], long_study: tuple[Path, Path], tmp_path: Path
) -> None:
    study, reference = long_study
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    damage(out / "data" / file)
    witness = Witness()
    results = api.run_study(api.load_study(study), out, witness, report=False)
    assert witness.planned_runs == (1, 1)
    (line,) = [said for said in witness.said if "set aside" in said]
    assert f"set aside in {out / 'set-aside' / 'data-1'} and prepared again" in line
    assert file.split("/")[-1] in line
    assert results.failed == []
    for path in (reference / "data").rglob("*.*"):
        assert (out / "data" / path.relative_to(reference / "data")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("file", ["plan.json", "environment.json", "study.toml", "summary.json"])
def test_other_files_that_are_damaged_are_written_again(
    file: str, long_study: tuple[Path, Path], tuneoff: Command, tmp_path: Path
) -> None:
    study, reference = long_study
    shutil.copytree(reference, tmp_path / "out")
    _truncate(tmp_path / "out" / file)
    witness = Witness()
    results = api.run_study(api.load_study(study), tmp_path / "out", witness, report=False)
    assert witness.planned_runs == (1, 1)
    assert results.runs == api.load_results(reference).runs


def test_data_that_an_earlier_version_prepared_is_said_to_be_so_and_prepared_again(
    long_study: tuple[Path, Path], tuneoff: Command, tmp_path: Path
) -> None:
    study, reference = long_study
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    prepared = json.loads((out / "data" / "prepared.json").read_text())
    del prepared["model_width"]
    (out / "data" / "prepared.json").write_text(json.dumps(prepared))
    answer = tuneoff("report", "out")
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert "out/data/prepared.json was written by another version of Tuneoff" in answer.stderr
    assert "`tuneoff run out/study.toml --out out` prepares the data again" in answer.stderr
    witness = Witness()
    assert api.run_study(api.load_study(study), out, witness, report=False).failed == []
    assert witness.planned_runs == (1, 1), "its result still holds"


@pytest.fixture(scope="module")
def interrupted(study_file: StudyFile, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study whose only run was interrupted, and its folder."""
    study, out = study_file(epochs=4), tmp_path_factory.mktemp("interrupted") / "out"
    with pytest.raises(KeyboardInterrupt):
        api.run_study(
            api.load_study(study), out, Witness({"lora": lambda _: os.kill(os.getpid(), signal.SIGINT)}), report=False
        )
    return study, out


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_truncate, "it is damaged"),
        (lambda path: path.write_bytes(b""), "it is damaged"),
        (_flip, "it is damaged (BadZipFile: the checksum of"),
        (lambda path: path.write_text("[1, 2]"), "it is damaged"),
    ],
    ids=["truncated", "empty", "flipped bit", "something else"],
)
def test_a_damaged_checkpoint_is_left_out(
    damage: Callable[[Path], Any], why: str, interrupted: tuple[Path, Path], tmp_path: Path
) -> None:
    study, folder = interrupted
    shutil.copytree(folder, tmp_path / "out")
    (checkpoint,) = tmp_path.glob("out/runs/*/checkpoint.pt")
    damage(checkpoint)
    (run,) = dictionaries(api.run_study(api.load_study(study), tmp_path / "out", report=False).runs)
    assert run["status"] == "ok"
    assert not run["resumed"]
    log = (checkpoint.parent / "log.txt").read_text()
    assert f"checkpoint.pt is left out, and the run starts anew: {why}" in log
    assert "goes on after step" not in log


@pytest.mark.parametrize("every", ["epoch", "0.2s"])
def test_checkpoints_come_every_epoch_or_so_often(every: str, study_file: StudyFile, tmp_path: Path) -> None:
    found: list[bool] = []
    spec = api.load_study(study_file(epochs=4), [f"execution.checkpoint_every={every}"])
    witness = Witness({"lora": lambda _: found.append(bool(list(tmp_path.glob("runs/*/checkpoint.pt"))))}, after=30)
    (run,) = dictionaries(api.run_study(spec, tmp_path, witness, report=False).runs)
    assert found == [True]
    assert run["checkpoint_seconds"] > 0
    assert not list(tmp_path.glob("runs/*/checkpoint.pt"))


@pytest.mark.parametrize("checkpoint_every", ["1", "1000"], ids=["at a checkpoint", "later"])
def test_a_full_disk_stops_the_study_cleanly_and_it_goes_on_with_room(
    checkpoint_every: str,
    study_file: StudyFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Filler(Witness):
        def starts(self, run: Run) -> None:
            if run.arm.name == "second":
                fill(tmp_path / "disk")

    study = study_file(["first", "second", "third"], epochs=2)
    with small_disk(tmp_path / "disk", "8m"):
        out = tmp_path / "disk" / "out"
        spec = api.load_study(study, [f"execution.checkpoint_every={checkpoint_every}"])
        expected = "No space left on device.*; finished runs are kept, and the same command goes on from here"
        with pytest.raises(api.UserError, match=expected):
            api.run_study(spec, out, Filler(), report=False)
        kept = stamps(out)
        assert [path.parent.name.split("-")[0] for path in kept] == ["first"]
        assert run_processes(os.getpid()) == []
        assert capfd.readouterr().err == ""

        assert main_here(monkeypatch, "run", str(study), "--out", str(out)) == 2  # still full
        assert re.fullmatch("tuneoff: .*No space left on device.*\n", capfd.readouterr().err)
        (tmp_path / "disk" / "filler").unlink()
        results = api.run_study(api.load_study(study), out, report=False)
        assert [run["status"] for run in dictionaries(results.runs)] == ["ok"] * 3
        assert kept.items() <= stamps(out).items()
        assert not list(out.rglob("*.tmp"))


def test_status_is_seen_from_another_terminal(study_file: StudyFile, tmp_path: Path) -> None:
    seen: list[Any] = []
    spec = api.load_study(study_file(["done", "runs", "waits"], epochs=2))
    witness = Witness({"runs": lambda _: seen.append(_status(tmp_path))}, after=25)
    api.run_study(spec, tmp_path, witness, report=False)
    (status,) = seen
    assert status["driver"]["pid"] == os.getpid()
    assert [state["state"] for state in status["runs"]] == ["ok", "running", "left"]
    assert status["runs"][1]["step"] <= status["runs"][1]["steps"] == 36
    assert status["seconds_left"] > 0


def test_an_interruption_before_training_leaves_nothing(
    study_file: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEOFF_CACHE", str(tmp_path / "cache"))  # where nothing is prepared yet

    class Impatient(Witness):
        def say(self, message: str) -> None:
            if "tokenising" in message:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        api.run_study(api.load_study(study_file()), tmp_path / "out", Impatient(), report=False)
    assert not (tmp_path / "out").exists()


def test_a_disk_too_small_to_begin_on(study_file: StudyFile, tmp_path: Path) -> None:
    study = api.load_study(study_file())
    with small_disk(tmp_path / "disk", "16k"):
        with pytest.raises(api.UserError, match="No space left on device"):
            api.run_study(study, tmp_path / "disk" / "out", report=False)
        fill(tmp_path / "disk")
        with pytest.raises(api.UserError, match="No space left on device"):
            api.run_study(study, tmp_path / "disk" / "out", report=False)


def test_a_limit_on_file_sizes_stops_the_study(study_file: StudyFile, tmp_path: Path) -> None:
    def limit(process: psutil.Process) -> None:
        process.rlimit(psutil.RLIMIT_FSIZE, (2000, 2000))

    spec = api.load_study(study_file(["first", "second"], epochs=4))
    with pytest.raises(api.UserError, match=r"run second-seed0-.* could not write its files: .*File too large"):
        api.run_study(spec, tmp_path, Witness({"second": limit}), report=False)
    assert [run["status"] for run in dictionaries(api.run_study(spec, tmp_path, report=False).runs)] == ["ok", "ok"]


def test_a_folder_that_may_only_be_read(long_study: tuple[Path, Path], tuneoff: Command, tmp_path: Path) -> None:
    study, reference = long_study
    with small_disk(tmp_path / "disk", "8m"):
        shutil.copytree(reference, tmp_path / "disk" / "done")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        for folder in ("done", "new"):
            answer = tuneoff("run", "--no-report", study, "--out", tmp_path / "disk" / folder)
            assert answer.returncode == 2
            expected = f"tuneoff: {tmp_path / 'disk' / folder} cannot be written: Read-only file system\n"
            assert answer.stderr == expected
        assert [state["state"] for state in _status(tmp_path / "disk" / "done")["runs"]] == ["ok"]


def test_what_killed_processes_leave_behind_is_removed(long_study: tuple[Path, Path], tmp_path: Path) -> None:
    study, reference = long_study
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    (run,) = (out / "runs").iterdir()
    left = [
        out / ".summary.json.123.tmp",
        out / "charts" / ".accuracy.png.123.tmp",
        out / "data" / ".test.parquet.123.tmp",
        out / "data" / "train" / ".ids.npy.123.tmp",
        run / ".checkpoint.pt.123.tmp",
        run / "checkpoint.pt",
        run / "progress.json",
        out / "driver.json",
    ]
    (out / "charts").mkdir()
    for path in left:
        path.write_text("{")
    (run / ".adapter.123.tmp").mkdir()
    (run / ".adapter.123.tmp" / "half").write_text("half")
    (out / ".notes.tmp").write_text("the user's")
    before = stamps(out)
    assert api.run_study(api.load_study(study), out, report=False).failed == []
    assert stamps(out) == before
    assert not any(path.exists() for path in [*left, run / ".adapter.123.tmp"])
    assert (out / ".notes.tmp").exists()


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"pid": "x", "host": 3}', '{"pid": 1'])
def test_a_broken_driver_file_is_nobody(content: str, long_study: tuple[Path, Path], tmp_path: Path) -> None:
    from tuneoff.study.lock import running_driver

    shutil.copytree(long_study[1], tmp_path / "out")
    (tmp_path / "out" / "driver.json").write_text(content)
    assert running_driver(tmp_path / "out") is None
    assert [state.state for state in Store(tmp_path / "out").states()] == ["ok"]


def test_a_model_that_does_not_compute_in_bfloat16_says_what_to_set(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    from transformers import FNetConfig, FNetModel

    folder = tmp_path / "fnet"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").unlink()
    size = json.loads((tiny_model / "config.json").read_text())["vocab_size"]
    FNetModel(
        FNetConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=1, intermediate_size=32, max_position_embeddings=64
        )
    ).save_pretrained(folder)
    study = tmp_path / "study.toml"
    study.write_text(
        study_toml(folder, data_files, ['method = "full"\nlearning_rate = 1e-3'], seeds=1, precision='"bf16"')
    )
    done = tuneoff("run", study, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert 'set training.precision = "fp32"' in done.stdout
    assert tuneoff("run", study, "--out", tmp_path / "wide", "--set", "training.precision=fp32").returncode == 0
