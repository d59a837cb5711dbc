"""Faults of runs that are really caused: crashes, hangs, memory without end. The study survives each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tuneoff as api
from commands import ENVIRONMENT
from conftest import Command, study_toml
from fault_parts import LONG, StudyFile, Witness, by_arm, send, stamps, study_file
from processes import SABOTAGE, logits, run_processes, stop_fork_server
from stored import dictionaries, dictionary

__all__ = ["study_file"]

UNDISTURBED = ENVIRONMENT.get("PYTHONPATH", "")


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


@pytest.mark.long
def test_a_process_that_dies_is_a_failed_run_and_can_be_retried(study_file: StudyFile, tmp_path: Path) -> None:
    spec = api.load_study(study_file(["segfaults", "is_killed", "exits", "ends_oddly", "is_fine"], epochs=4))
    deaths = {"segfaults": signal.SIGSEGV, "is_killed": signal.SIGKILL, "exits": signal.SIGUSR1, "ends_oddly": 37}
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
        ("ends_oddly", "killed by signal 37;"),
        ("exits", "'trainable': 4226}"),
    ):
        assert expected in runs[arm]["error"]
        assert "\n" not in runs[arm]["error"]
    assert "training/" in (tmp_path / "runs" / runs["segfaults"]["run_id"] / "log.txt").read_text()
    assert [arm["failed"] != [] for arm in dictionary(results.summary)["arms"]] == [True, True, True, True, False]

    before = stamps(tmp_path)
    again = Witness()
    assert len(api.run_study(spec, tmp_path, again, report=False).failed) == 4
    assert again.planned_runs == (5, 5)
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
