"""What goes on beside a study fails neither it nor its runs: who reads its output, its page, other libraries."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tuneoff as api
from conftest import study_toml
from tuneoff.records.run import RunResult
from tuneoff.runs.run import Run
from tuneoff.study.listener import Silent
from tuneoff.tasks.single_label import macro_f1


@pytest.fixture(scope="module")
def study(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("beside") / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ["full", "head_only"], seeds=1, epochs=1))
    return path


def run_into(study: Path, out: Path, stdout: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "tuneoff", "run", str(study), "--out", str(out)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment)


def is_complete(out: Path) -> bool:
    return bool(json.loads((out / "summary.json").read_text())["runs"]["done"] == 2)


@pytest.mark.long
def test_a_reader_that_leaves_ends_no_study(study: Path, tmp_path: Path) -> None:
    process = run_into(study, tmp_path / "out", subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(timeout=300) == 0
    assert said == ""
    assert is_complete(tmp_path / "out")


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_on_a_full_disk_ends_no_study_but_is_said(study: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = run_into(study, tmp_path / "out", full.fileno())
        _, said = process.communicate(timeout=300)
    assert process.returncode == 2
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
        api.run_study(api.load_study(study), tmp_path)
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
    assert macro_f1(wrong, labels) == pytest.approx(0.95)
    assert macro_f1(elsewhere, labels) == pytest.approx(2 * 19 / 39)
