"""Records: what a study's folder holds is what its schemas say, and comes back as it was written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

import tuneoff as api
from conftest import Command, study_toml
from stored import diverged_run, scored_run, unfinished_run
from tuneoff.records.arm_summary import ScoredArm
from tuneoff.records.run import STORED_RESULT, DivergedRun, RunResult, ScoredRun, TrainedRun
from tuneoff.records.summary import Summary
from tuneoff.study.store import Store

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with trials, an arm that diverges, one that is fitted, and one that no run has been left of."""
    folder = tmp_path_factory.mktemp("records")
    wild = 'method = "lora"\nname = "wild"\nlearning_rate = 900'
    arms = ["full", wild, "frozen_features"]
    toml = study_toml(tiny_model, data_files, arms, seeds=2, tuning="trials = 2", epochs=1)
    (folder / "study.toml").write_text(toml)
    api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)
    return folder / "out"


def schema(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "docs" / "schemas" / name).read_text())
    return content


def test_what_is_stored_is_what_the_schemas_say(folder: Path) -> None:
    results = [json.loads(path.read_text()) for path in folder.glob("runs/*/result.json")]
    assert {result["status"] for result in results} == {"ok", "diverged"}
    for result in results:
        jsonschema.validate(result, schema("result.json"))
    jsonschema.validate(json.loads((folder / "summary.json").read_text()), schema("summary.json"))
    jsonschema.validate(json.loads((folder / "plan.json").read_text()), schema("plan.json"))


def test_a_schema_refuses_what_no_run_can_have_come_to(folder: Path) -> None:
    result = next(json.loads(path.read_text()) for path in folder.glob("runs/full-seed0-*/result.json"))
    for change in ({"status": "fine"}, {"train_seconds": "long"}, {"colour": "red"}, {"parameters": {"total": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(result | change, schema("result.json"))


def test_results_come_back_as_records_of_their_kind(folder: Path) -> None:
    results = api.load_results(folder)
    assert {type(run) for run in results.runs if run.arm == "wild"} == {DivergedRun}
    assert {type(run) for run in results.runs if run.arm != "wild"} == {ScoredRun}
    assert {type(trial) for trial in results.trials} == {TrainedRun}
    store = Store(folder)
    for entry in store.planned():
        stored = json.loads((store.run_folder(entry.id) / "result.json").read_text())
        result = store.result(entry.id)
        assert result is not None
        assert result.model_dump(mode="json") == stored
    arms = {arm.arm: isinstance(arm, ScoredArm) for arm in results.summary.arms}
    assert arms == {"full": True, "wild": False, "frozen_features": True}
    written = json.loads((folder / "summary.json").read_text())
    assert Summary.model_validate(written).model_dump(mode="json") == written


@pytest.mark.parametrize("result", [scored_run(), diverged_run(1.0, None), unfinished_run("oom")])
def test_a_result_is_read_as_what_it_was(result: RunResult) -> None:
    again = STORED_RESULT.validate_json(result.model_dump_json())
    assert type(again) is type(result)
    assert again == result


@pytest.mark.parametrize("change", [{"accuracy": 0.5}, {"validation_accuracy": float("nan")}, {"curve": None}])
def test_no_record_holds_what_is_not_in_its_fields(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        scored_run(**change)


def test_a_result_of_before_there_were_parts_and_latencies_is_read() -> None:
    stored = scored_run().model_dump(mode="json")
    for name in ("part", "trial", "inference_latency_seconds", "loss_trace", "guess_loss"):
        del stored[name]
    result = STORED_RESULT.validate_python(stored)
    assert isinstance(result, ScoredRun)
    assert (result.part, result.trial, result.inference_latency_seconds, result.loss_trace) == ("", False, None, ())


def test_a_result_with_a_field_of_a_later_version_is_refused_in_a_line(
    folder: Path, tmp_path: Path, tuneoff: Command
) -> None:
    from tuneoff.core.files import canonical_hash, write_json

    run_id = next(path.parent.name for path in folder.glob("runs/full-seed0-*/result.json"))
    result = json.loads((folder / "runs" / run_id / "result.json").read_text())
    later = {**result, "carbon_grams": 3}
    later["sha256"] = canonical_hash({name: value for name, value in later.items() if name != "sha256"})
    write_json(tmp_path / "runs" / run_id / "result.json", later)
    assert Store(tmp_path).examine(run_id) == (None, "its result.json was written by another version of tuneoff")


def test_the_page_and_the_schemas_say_what_the_records_say() -> None:
    answer = subprocess.run(
        [sys.executable, ROOT / "tools" / "formats.py", "--check"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_records_need_nothing_heavy() -> None:
    code = (
        "import sys, tuneoff.records.summary, tuneoff.records.prepared, tuneoff.records.outline; "
        "print([name for name in ('torch', 'numpy', 'pandas', 'transformers') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
