"""What stops a study from outside, and how it goes on: signals, fail-fast, a driver that dies, a read-only folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import tuneoff as api
from commands import run_command, server_for
from conftest import Command
from fault_parts import LONG, StudyFile, Witness, by_arm, long_study, send, stamps, study_file
from processes import (
    Driver,
    alive_in_session,
    assert_same_predictions,
    main_here,
    run_process,
    run_processes,
    small_disk,
    wait_until,
)
from stored import dictionaries, dictionary
from tuneoff.study.store import Store

__all__ = ["long_study", "study_file"]


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
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
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
    driver = Driver(study, out)
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


@pytest.mark.parametrize("every", ["epoch", "0.2s"])
def test_checkpoints_come_every_epoch_or_so_often(every: str, study_file: StudyFile, tmp_path: Path) -> None:
    found: list[bool] = []
    spec = api.load_study(study_file(epochs=4), [f"execution.checkpoint_every={every}"])
    witness = Witness({"lora": lambda _: found.append(bool(list(tmp_path.glob("runs/*/checkpoint.pt"))))}, after=30)
    (run,) = dictionaries(api.run_study(spec, tmp_path, witness, report=False).runs)
    assert found == [True]
    assert run["checkpoint_seconds"] > 0
    assert not list(tmp_path.glob("runs/*/checkpoint.pt"))


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
