"""What the tests of faults share: short studies, one that nobody disturbed, and a witness that hurts runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

import tuneoff as api
from conftest import ONE_CORE, study_toml
from processes import run_process
from stored import dictionaries
from tuneoff.records.run import RunResult
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.run import Run
from tuneoff.study.ahead import Ahead

SHORT, LONG = 1, 12
"""Epochs of 18 steps each."""
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


def send(number: int) -> Callable[[psutil.Process], None]:
    return lambda process: process.send_signal(number)


def stamps(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every stored result, with when it was written."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("runs/*/result.json")}


def by_arm(results: api.StudyResults) -> dict[str, dict[str, Any]]:
    return {run["arm"]: run for run in dictionaries(results.runs)}
