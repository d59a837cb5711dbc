"""What goes on beside a study fails neither it nor its runs: who reads its output, its page, other libraries."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest

import tuneoff as api
from commands import Running, server_for, start_command
from conftest import study_toml
from tuneoff.records.run import RunResult
from tuneoff.runs.run import Run
from tuneoff.study.listener import Silent
from tuneoff.tasks.objectives.macro_f1 import MacroF1


@pytest.fixture(scope="module")
def study(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("beside") / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ["full", "head_only"], seeds=1, epochs=1))
    return path


def run_into(study: Path, out: Path, stdout: int) -> tuple[Running | subprocess.Popen[bytes], TextIO]:
    """`tuneoff run` that writes to `stdout`, which is closed here, and what it says on its error output."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    said, stderr = os.pipe()
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        arguments = ["run", str(study), "--out", str(out)]
        streams = [nothing.fileno(), stdout, stderr]
        command = start_command(arguments, study.parent, environment, streams, server_for("run"))
    os.close(stdout)
    os.close(stderr)
    return command, os.fdopen(said)


def is_complete(out: Path) -> bool:
    return bool(json.loads((out / "summary.json").read_text())["runs"]["done"] == 2)


@pytest.mark.long
def test_a_reader_that_leaves_ends_no_study(study: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command, errors = run_into(study, tmp_path / "out", writing)
    with os.fdopen(reading) as reader:
        assert reader.readline()
    with errors:
        assert errors.read() == ""
    assert command.wait(300) == 0
    assert is_complete(tmp_path / "out")


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_on_a_full_disk_ends_no_study_but_is_said(study: Path, tmp_path: Path) -> None:
    command, errors = run_into(study, tmp_path / "out", os.open("/dev/full", os.O_WRONLY))
    with errors:
        said = errors.read()
    assert command.wait(300) == 2
    assert said == "tuneoff: standard output: No space left on device; what follows is not shown\n"
    assert is_complete(tmp_path / "out")


def test_a_page_that_cannot_be_written_ends_no_study(study: Path, tmp_path: Path) -> None:
    class InTheWay(Silent):
        """Puts a folder where the page goes while runs go on."""

        def __init__(self) -> None:
            self.said: list[str] = []
            self.ended = 0

        def say(self, message: str) -> None:
            self.said.append(message)

        def run_finished(self, run: Run, result: RunResult) -> None:
            self.ended += 1
            (tmp_path / "report.html").mkdir(exist_ok=True)
            if self.ended == 2:
                (tmp_path / "report.html").rmdir()

    listener = InTheWay()
    results = api.run_study(api.load_study(study), tmp_path, listener)
    assert not results.failed
    assert len(results.runs) == 2
    assert (tmp_path / "report.html").is_file()
    told = [line for line in listener.said if "report.html" in line]
    assert len(told) == 1
    assert told[0].startswith("report.html is not kept up to date: IsADirectoryError: ")


def test_other_libraries_log_as_before(study: Path, tmp_path: Path) -> None:
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_info()
    transformers_logging.enable_progress_bar()
    names = ("transformers", "datasets", "huggingface_hub", "httpx", "optuna")
    before = [logging.getLogger(name).level for name in names]
    try:
        api.run_study(api.load_study(study), tmp_path, report=False)
        assert [logging.getLogger(name).level for name in names] == before
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        transformers_logging.set_verbosity_warning()


def test_macro_f1_is_over_the_classes_that_are_tested() -> None:
    labels = np.repeat([0, 1], 20)
    wrong = labels.copy()
    wrong[[0, 20]] = [1, 0]
    elsewhere = labels.copy()
    elsewhere[[0, 20]] = 2  # as many are wrong, and they are given a class that no example has
    assert MacroF1.value(labels, wrong) == pytest.approx(0.95)
    assert MacroF1.value(labels, elsewhere) == pytest.approx(2 * 19 / 39)
