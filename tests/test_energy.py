"""Energy of training: counters of processor packages in files as Linux has them, and what reports say of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import tuneoff as api
from conftest import Command, study_toml
from stored import altered
from tuneoff.measure.clock import Stopwatch
from tuneoff.measure.energy import EnergyMeter, energy_meter, together
from tuneoff.records.run import ScoredRun
from tuneoff.report.tables import write_csv
from tuneoff.report.write import write_markdown
from tuneoff.runs.allocation import Allocation
from tuneoff.runs.execute import carry_out
from tuneoff.runs.task import RunTask
from tuneoff.study.pins import Pinned
from tuneoff.study.plan import plan_runs
from tuneoff.study.prepare import prepare_study
from tuneoff.study.run_task import make_task
from tuneoff.training.loop import TrainingStopped

CPU = torch.device("cpu")
MOST = 262_143_328_850
"""Microjoules at which counters of many processors begin anew."""
GRAMS = "[analysis]\ngrams_co2_per_kwh = 400\n"


def zone(root: Path, folder: str, name: str, microjoules: int, most: int = MOST) -> Path:
    """A counter as Linux shows it; returns the file that says where it stands."""
    (root / folder).mkdir(parents=True)
    (root / folder / "name").write_text(f"{name}\n")
    (root / folder / "max_energy_range_uj").write_text(f"{most}\n")
    (root / folder / "energy_uj").write_text(f"{microjoules}\n")
    return root / folder / "energy_uj"


def test_packages_are_added_up_without_their_parts(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    others = [
        zone(tmp_path, folder, name, 0)
        for folder, name in (
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "dram"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0"),
        )
    ]
    meter = energy_meter(CPU, tmp_path)
    assert meter is not None
    assert meter.spent() is None, "there is nothing yet that it could be counted from"
    first.write_text("3000000\n")
    second.write_text("5500000\n")
    for other in others:
        other.write_text("77000000\n")
    assert meter.spent() == pytest.approx(2.5)
    assert meter.spent() == 0


def test_a_counter_that_begins_anew_goes_on_counting(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", MOST - 1_000_000)
    meter = energy_meter(CPU, tmp_path)
    assert meter is not None
    meter.spent()
    counter.write_text("2000000\n")
    assert meter.spent() == pytest.approx(3)


def test_what_cannot_be_counted_is_not_known(tmp_path: Path) -> None:
    assert energy_meter(CPU, tmp_path / "absent") is None
    zone(tmp_path / "no package", "intel-rapl:0", "psys", 0)
    assert energy_meter(CPU, tmp_path / "no package") is None

    counter = zone(tmp_path / "locked", "intel-rapl:0", "package-0", 0)
    counter.unlink()
    counter.mkdir()  # which not even root can read as a number
    meter = energy_meter(CPU, tmp_path / "locked")
    assert meter is not None
    assert [meter.spent(), meter.spent()] == [None, None]

    counter = zone(tmp_path / "soon", "intel-rapl:0", "package-0", 0, most=1)
    meter = energy_meter(CPU, tmp_path / "soon")
    assert meter is not None
    meter.spent()
    assert meter.spent() is None, "it may have begun anew any number of times"


def test_only_training_counts_and_parts_of_a_run_are_added_up(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def spend(joules: int) -> None:
        counter.write_text(str(int(counter.read_text()) + joules * 10**6))

    def timed(meter: EnergyMeter | None, earlier: float | None) -> float | None:
        watch = Stopwatch(CPU, {}, meter, earlier)
        for purpose in ("setup", "train", "eval", "train"):
            with watch.timing(purpose):
                spend(1)
                if purpose == "train":
                    with watch.timing("checkpoint"):
                        spend(10)
                spend(100)
            spend(1000)
        return watch.train_joules

    assert timed(energy_meter(CPU, tmp_path), 0.0) == pytest.approx(202)
    assert timed(energy_meter(CPU, tmp_path), 50.0) == pytest.approx(252)
    assert timed(energy_meter(CPU, tmp_path), None) is None
    assert timed(None, 50.0) is None
    assert timed(EnergyMeter([]), 0.0) == 0, "of a process whose machine another one counts"
    assert together([1.0, 2.5]) == 3.5
    assert together([1.0, None]) is None


def test_a_counter_that_is_looked_at_may_begin_anew_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneoff.measure.clock.LOOK_SECONDS", 0.0)
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    watch = Stopwatch(CPU, meter=energy_meter(CPU, tmp_path))
    joules = 200_000
    with watch.timing("train"):
        for step in range(1, 6):
            counter.write_text(str(step * joules * 10**6 % MOST))
            watch.look()
    assert watch.train_joules == pytest.approx(5 * joules)


@contextmanager
def taking(root: Path, watts: float) -> Iterator[None]:
    """A processor that takes so much while the block goes on."""
    counter = zone(root, "intel-rapl:0", "package-0", 0)
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(0.001):
            new = counter.with_suffix(".new")
            new.write_text(str(int(1e6 * watts * time.monotonic()) % MOST))
            new.replace(counter)  # whoever reads it finds a number

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class After(threading.Event):
    """Is set once it has been asked so often."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture
def task(tiny_model: Path, data_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunTask:
    """A run that is long enough for its energy to be told."""
    monkeypatch.setattr("tuneoff.runs.workplace.settle_on_cpu", lambda threads: None)  # which lasts
    monkeypatch.setattr("tuneoff.runs.execute.LEAST_SECONDS", 0.1)
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["full"], epochs=8))
    spec = api.load_study(tmp_path / "study.toml")
    prepared = prepare_study(spec, tmp_path / "out", lambda _: None)
    allocation = Allocation("cpu", "fp32", devices=1, parallel="none", cores=1)
    run = plan_runs(spec, prepared, allocation, lambda _: spec.arms)[0]
    folders = prepared.model_folder, prepared.stored_in, tmp_path / "run"
    folders[-1].mkdir()
    return make_task(run, Pinned(spec, {}), prepared.prepared, allocation, *folders)


def carried_out(task: RunTask, stopping: threading.Event) -> ScoredRun:
    here, there = Pipe()
    with here, there:
        result = carry_out(task, CPU, there, stopping).result
    assert isinstance(result, ScoredRun)
    return result


def test_a_run_that_goes_on_has_the_energy_of_all_its_parts(
    task: RunTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "powercap"
    monkeypatch.setattr("tuneoff.runs.workplace.energy_meter", partial(energy_meter, root=root))
    with taking(root, watts=100):
        with pytest.raises(TrainingStopped):
            carried_out(task, After(task.run.steps // 2))
        run = carried_out(task, threading.Event())
    assert run.resumed
    assert run.energy_joules is not None
    assert 75 < run.energy_joules / run.train_seconds < 125


def test_a_run_beside_others_or_without_counters_has_none(
    task: RunTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "powercap"
    monkeypatch.setattr("tuneoff.runs.workplace.energy_meter", partial(energy_meter, root=root))
    assert carried_out(task, threading.Event()).energy_joules is None
    with taking(root, watts=100):
        assert carried_out(task.beside_others(gpu_bytes=0), threading.Event()).energy_joules is None


@pytest.fixture(scope="module")
def finished(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that says what electricity emits; its training is too short for any counter."""
    folder = tmp_path_factory.mktemp("short")
    toml = study_toml(tiny_model, data_files, ["full", "head_only"], epochs=1)
    (folder / "study.toml").write_text(toml + "\n" + GRAMS)
    results = api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)
    write_markdown(results)
    return results.folder


def test_without_a_counter_nothing_is_said(finished: Path) -> None:
    results = [json.loads(path.read_text()) for path in finished.glob("runs/*/result.json")]
    assert [result["energy_joules"] for result in results] == [None] * 4
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["emissions"] is None
    assert [arm["energy_joules"] for arm in summary["arms"]] == [None, None]
    report = (finished / "report.md").read_text()
    assert "Train time" in report
    assert "train energy" not in report.lower()
    assert "CO2" not in report


def test_reports_have_the_energy_and_the_co2_of_the_arms_that_were_measured(
    finished: Path, tuneoff: Command, tmp_path: Path
) -> None:
    def measure(result: dict[str, Any]) -> None:
        """One seed of an arm alone; the other arm is of before."""
        if result["arm"] == "head_only":
            del result["energy_joules"]
        else:
            result["energy_joules"] = 36_000.0 if result["seed"] == 0 else None

    out = altered(finished, tmp_path / "out", measure)
    answer = tuneoff("run", out / "study.toml", "--out", out)
    assert answer.returncode == 0, answer.stderr
    assert "nothing to train" in answer.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert [arm["energy_joules"] for arm in summary["arms"]] == [36_000, None]
    assert summary["emissions"] == {"grams_co2_per_kwh": 400, "arms": {"full": pytest.approx(4)}}
    report = (out / "report.md").read_text()
    for said in (report, answer.stdout):
        assert "train energy" in said
        assert "train CO2" in said
        assert "the counters of the machine's processors, whatever else they did; CO2 at 400 g a kWh." in said
    (row,) = [line for line in report.splitlines() if line.startswith("| full |")]
    assert row.endswith("| 36.0 kJ | 4.0 g |")
    (row,) = [line for line in report.splitlines() if line.startswith("| head_only |")]
    assert row.endswith("|  |  |")
    table = pd.read_csv(write_csv(api.load_results(out))).set_index("name")["energy_joules"]
    assert table["full"] == 36_000
    assert table.isna()["head_only"]


def test_grams_are_above_nothing(tiny_model: Path, data_files: Path, tuneoff: Command, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["full"]))
    wrong = tuneoff("run", "study.toml", "--set", "analysis.grams_co2_per_kwh=0")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "grams_co2_per_kwh" in wrong.stderr
