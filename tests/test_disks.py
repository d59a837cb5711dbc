"""Disks that are full or too small, and a limit on files: the study stops cleanly, and goes on with room."""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil
import pytest

import tuneoff as api
from fault_parts import StudyFile, Witness, stamps, study_file
from processes import fill, main_here, run_processes, small_disk
from stored import dictionaries
from tuneoff.runs.run import Run

__all__ = ["study_file"]


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
