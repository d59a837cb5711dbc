"""Stored files that are damaged: set aside and made again, while all that can be trusted is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tuneoff as api
from conftest import Command
from fault_parts import StudyFile, Witness, long_study, stamps, study_file
from processes import assert_same_predictions
from stored import dictionaries
from tuneoff.study.store import Store

__all__ = ["long_study", "study_file"]


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
