"""Kills a study again and again at random moments until it is done, and compares it with one left in peace."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import tuneoff as api
from conftest import ONE_CORE, study_toml
from processes import Driver, alive_in_session, assert_same_predictions, wait_until
from stored import dictionaries
from tuneoff.study.store import Store

FEW_ARMS = ("full", "lora", "ia3", "head_only")
ALL_ARMS = (*FEW_ARMS, "qlora")
STARTING_SHARE = 0.6
"""Of the kills; the others come once a run trains."""
STARTING_SECONDS, STARTED_SECONDS, TRAINING_SECONDS = 5.0, 2.0, 1.5
"""The longest that a study is let go on: from its start, where it imports first or has imported; from a checkpoint."""

Stamps = dict[Path, tuple[int, int]]


@pytest.mark.parametrize(
    ("kills", "methods", "seeds", "fresh"),
    [
        pytest.param(6, FEW_ARMS, 1, False, marks=pytest.mark.long),
        pytest.param(100, ALL_ARMS, 6, True, marks=pytest.mark.soak),
    ],
    ids=["6 kills", "100 kills"],
)
def test_a_study_that_is_killed_again_and_again(
    kills: int, methods: tuple[str, ...], seeds: int, fresh: bool, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    arms = [f'method = "{method}"\nlearning_rate = 3e-3' for method in methods]
    study = tmp_path / "study.toml"
    study.write_text(
        study_toml(tiny_model, data_files, arms, seeds=seeds, epochs=4, precision='"fp32"').replace(
            ONE_CORE, f"{ONE_CORE}\ncheckpoint_every = 5"
        )
    )
    draw = random.Random(kills)
    left, resumed, studies = kills, 0, 0
    while left:  # a fast machine may finish a study before all kills are spent
        studies += 1
        out = tmp_path / f"out{studies}"
        left -= _kill_until_done(study, out, left, fresh, draw)
        resumed += sum("goes on after step" in path.read_text() for path in out.glob("runs/*/log.txt"))
    print(f"{kills} kills, {studies} studies, {resumed} runs went on from a checkpoint")
    assert resumed

    reference = api.run_study(api.load_study(study), tmp_path / "reference")
    run_ids = [run["run_id"] for run in dictionaries(reference.runs)]
    for number in range(1, studies + 1):
        out = tmp_path / f"out{number}"
        results = api.load_results(out)
        assert [run["run_id"] for run in dictionaries(results.runs)] == run_ids
        assert {path.name for path in (out / "runs").iterdir()} == set(run_ids)
        assert [run["status"] for run in dictionaries(results.runs)] == ["ok"] * len(run_ids)
        assert_same_predictions(out, tmp_path / "reference", run_ids)
        assert not (out / "set-aside").exists()
        assert [path for path in out.rglob("*") if path.name in ("checkpoint.pt", "progress.json", "driver.json")] == []
        assert list(out.rglob("*.tmp")) == []
        assert json.loads((out / "summary.json").read_text())["runs"]["done"] == len(run_ids)
        assert (out / "report.html").stat().st_size > 0


def _kill_until_done(study: Path, out: Path, most: int, fresh: bool, draw: random.Random) -> int:
    """Starts the study, kills it and starts it again, at most so many times, and lets it end.

    Returns:
        How many times it was killed.
    """
    kept: Stamps = {}
    for kill in range(most):
        with _driver(study, out, fresh) as driver:
            _let_it_go_on(driver, out, STARTING_SECONDS if fresh else STARTED_SECONDS, draw)
            if driver.poll() is not None:
                assert driver.poll() == 0
                return kill
            if draw.random() < 0.5:
                os.killpg(driver.pid, signal.SIGKILL)
            else:
                driver.kill()
        kept = _check_results(out, kept)
    with _driver(study, out, fresh) as driver:
        assert driver.wait(600) == 0
    _check_results(out, kept)
    return most


@contextmanager
def _driver(study: Path, out: Path, fresh: bool) -> Iterator[Driver]:
    """`tuneoff run`. After it nothing is left of it, and nothing is written any more."""
    driver = Driver(study, out, fresh=fresh)
    yield driver
    driver.wait()
    wait_until(lambda: alive_in_session(driver.pid) == [], 60)  # a server that is importing notices late
    before = _stamps(out)
    time.sleep(0.1)
    assert _stamps(out) == before
    assert "Traceback" not in "".join(driver.printed())


def _let_it_go_on(driver: Driver, out: Path, starting_seconds: float, draw: random.Random) -> None:
    """Waits for a random moment: while the study starts, or once a run has written a checkpoint."""
    began = time.time_ns()
    if draw.random() < STARTING_SHARE:
        seconds = draw.uniform(0, starting_seconds)
    else:
        wait_until(lambda: driver.poll() is not None or _newest_checkpoint(out) > began, 120)
        seconds = draw.uniform(0, TRAINING_SECONDS)
    with suppress(subprocess.TimeoutExpired):
        driver.wait(seconds)


def _newest_checkpoint(out: Path) -> int:
    newest = 0
    for path in out.glob("runs/*/checkpoint.pt"):
        with suppress(FileNotFoundError):  # its run may just have ended
            newest = max(newest, path.stat().st_mtime_ns)
    return newest


def _stamps(out: Path) -> Stamps:
    """When each file was last written, and its size."""
    stats = {path: path.stat() for path in out.rglob("*")}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def _check_results(out: Path, kept: Stamps) -> Stamps:
    """That results which were there are there still, that each is whole, and returns them all."""
    store = Store(out)
    results = list(out.glob("runs/*/result.json"))
    assert [store.examine(path.parent.name)[1] for path in results] == [None] * len(results)
    files = [path for result in results for path in (result, result.with_name("predictions.parquet"))]
    stamps = {path: stamp for path, stamp in _stamps(out).items() if path in files}
    assert kept.items() <= stamps.items()
    return stamps
