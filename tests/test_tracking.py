"""Trackers: what W&B, TensorBoard and MLflow hold of a real study, read back from disk, once and without texts."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import tuneoff as api
from conftest import NEGATIVE, POSITIVE, Command, study_toml
from stored import dictionaries, dictionary
from tracking_parts import (
    Notes,
    curve_of,
    environment,
    finished,
    mlflow_runs,
    names_of,
    spec_of,
    study,
    tensorboard_numbers,
    track,
    wandb_runs,
)
from tuneoff.core.errors import UserError
from tuneoff.records.run import RunIdentity, RunResult, UnfinishedRun, UnfinishedStatus
from tuneoff.spec.tracking import TRACKERS
from tuneoff.tracking import Trackers

__all__ = ["environment", "finished", "study"]

EVERY = tuple(f"tracking.{name}=true" for name in TRACKERS.classes())


@pytest.fixture(scope="module")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's own file without an experiment, which takes it seconds to make."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def study_with_store(study: Path, mlflow_store: Path) -> Path:
    """The copy, with MLflow's empty store in it."""
    (study / "mlflow").mkdir()
    shutil.copy(mlflow_store, study / "mlflow")
    return study


def test_wandb_holds_curves_summary_table_and_charts_and_nothing_else(study: Path) -> None:
    said = track(study, "tracking.wandb=true", "tracking.wandb_project=mine")
    results = api.load_results(study)
    runs = wandb_runs(study)
    assert runs.keys() == names_of(study)
    for result in dictionaries(results.runs):
        run = runs[result["run_id"]]
        assert (run["run_group"], run["project"], run["job_type"]) == ("tiny", "mine", "run")
        for tag, points in curve_of(result).items():
            assert [(entry["_step"], entry[tag]) for entry in run["history"]] == points
        for name in ("test_accuracy", "train_seconds", "status"):
            assert run["summary"][name] == result[name]
        assert run["summary"]["conditions.device"] == result["conditions"]["device"]
        assert run["summary"]["peak_memory_bytes.train"] == result["peak_memory_bytes"]["train"]
        for name in ("arm", "method", "seed", "learning_rate"):
            assert run["config"][name] == result[name]
        assert run["config"]["training.batch_size"] == 8
        assert run["config"]["data.sizes.test"] == 60
        assert not run["kinds"] & {"stats", "output", "output_raw"}
    for trial in dictionaries(results.trials):
        run = runs[trial["run_id"]]
        assert (run["job_type"], run["config"]["learning_rate"]) == ("trial", trial["learning_rate"])
        assert "test_accuracy" not in run["summary"]
    assert runs[results.runs_by_seed("lora")[0][0].run_id]["config"]["options.r"] == 8
    shown = {key.split(".")[0] for key in runs["study"]["history"][0]}
    assert shown >= {"arms", "charts/accuracy", "charts/peak_memory"}
    for arm in dictionary(results.summary)["arms"]:
        name = f"arms.{arm['arm']}.test_accuracy"
        assert runs["study"]["summary"][name] == arm["test_accuracy"]["mean"]
    table = json.loads(next(study.glob("wandb/*/files/media/table/*.json")).read_text())
    assert [row[0] for row in table["data"]] == ["full", "lora"]
    assert not list(study.glob("wandb/*/files/*.txt")) + list(study.glob("wandb/*/files/*.json"))
    assert said == [f"wandb: wandb sync {study}/wandb/offline-run-*"]


def test_tensorboard_holds_curves_summary_table_and_charts(study: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track(study, "tracking.tensorboard=true")
    results = api.load_results(study)
    assert {path.name for path in (study / "tensorboard").iterdir()} == names_of(study)
    for result in dictionaries(results.runs):
        numbers = tensorboard_numbers(study / "tensorboard" / result["run_id"])
        for tag, points in curve_of(result).items():
            np.testing.assert_allclose(numbers[tag], points, rtol=1e-6)
        accuracy = [(result["steps"], result["test_accuracy"])]
        np.testing.assert_allclose(numbers["summary/test_accuracy"], accuracy, rtol=1e-6)
    events = EventAccumulator(str(study / "tensorboard" / "study")).Reload()
    assert {"charts/accuracy", "charts/training_time"} <= set(events.Tags()["images"])
    assert b"| full | full | 1 |" in events.Tensors("arms")[0].tensor_proto.string_val[0]
    drawing = events.Images("charts/accuracy")[0].encoded_image_string
    assert drawing == (study / "charts" / "accuracy.png").read_bytes()


def test_mlflow_holds_curves_summary_table_and_charts(study: Path) -> None:
    track(study, "tracking.mlflow=true")
    results = api.load_results(study)
    client, runs = mlflow_runs(study)
    assert runs.keys() == names_of(study)
    for result in dictionaries(results.runs):
        run = runs[result["run_id"]]
        assert run.info.status == "FINISHED"
        for tag, points in curve_of(result).items():
            assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, tag)] == points
        assert run.data.metrics["test_accuracy"] == result["test_accuracy"]
        assert run.data.metrics["parameters.trainable"] == result["parameters"]["trainable"]
        assert run.data.params["learning_rate"] == str(result["learning_rate"])
        assert run.data.tags["status"] == "ok"
    kept = {path.name for path in study.glob("mlflow/artifacts/*/artifacts/**/*.*")}
    assert {"arms.csv", "accuracy.png", "peak_memory.png"} <= kept


def _ended_otherwise(run: RunResult, status: UnfinishedStatus, error: str) -> UnfinishedRun:
    identity = {name: getattr(run, name) for name in RunIdentity.model_fields}
    return UnfinishedRun(
        **identity,
        status=status,
        error=error,
        peak_memory_bytes=run.peak_memory_bytes,
        memory_kind=run.memory_kind,
        conditions=run.conditions,
    )


def test_going_on_tracks_each_run_once(study_with_store: Path, finished: tuple[Path, list[RunResult]]) -> None:
    """Run by run as they end, again, after a crash before it was remembered, and when a run was tried again."""
    study = study_with_store
    first, second = [result for result in finished[1] if not result.trial]
    trackers = Trackers(spec_of(study, *EVERY), study, print)
    failed = _ended_otherwise(second, "failed", "ValueError: superb")
    trackers.run_ended(_ended_otherwise(first, "interrupted", "stopped on request"))
    assert not (study / "tracked.json").exists()
    trackers.run_ended(first)
    trackers.run_ended(failed)
    name = failed.run_id
    tracked_once = {path: path.stat().st_mtime_ns for path in study.glob(f"tensorboard/{first.run_id}/*")}
    assert wandb_runs(study)[name]["summary"]["status"] == "failed"
    assert mlflow_runs(study)[1][name].info.status == "FAILED"
    before = wandb_runs(study)
    identities = {name: run["run_id"] for name, run in before.items()}

    track(study, *EVERY)  # the failed run has succeeded in the meantime
    assert tracked_once == {path: path.stat().st_mtime_ns for path in study.glob(f"tensorboard/{first.run_id}/*")}
    assert wandb_runs(study)[name]["summary"]["status"] == "ok"
    assert mlflow_runs(study)[1][name].info.status == "FINISHED"
    remembered = json.loads((study / "tracked.json").read_text())
    files = {path: path.stat().st_mtime_ns for path in study.rglob("*") if path.is_file()}

    track(study, *EVERY)
    assert files == {path: path.stat().st_mtime_ns for path in study.rglob("*") if path.is_file()}

    for tracker in TRACKERS.classes():
        del remembered[tracker][name]
    (study / "tracked.json").write_text(json.dumps(remembered))
    track(study, *EVERY)
    after = wandb_runs(study)
    assert after.keys() == mlflow_runs(study)[1].keys() == names_of(study)
    assert {name: after[name]["run_id"] for name in before} == identities
    assert len(list(study.glob("tensorboard/*/events*"))) == len(names_of(study))

    everything = b"".join(
        path.read_bytes() for place in TRACKERS.classes() for path in (study / place).rglob("*") if path.is_file()
    )
    assert not [word for word in (*POSITIVE[2:], *NEGATIVE[1:2]) if word.encode() in everything]


def test_the_same_study_in_another_folder_is_another_in_a_shared_store(
    study: Path, mlflow_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{shutil.copy(mlflow_store, tmp_path / 'shared.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(study, tmp_path / "second", symlinks=True)
    for folder in (study, tmp_path / "second"):
        assert track(folder, "tracking.mlflow=true") == ["mlflow: experiment tiny at MLFLOW_TRACKING_URI"]
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    assert len(client.search_runs([client.get_experiment_by_name("tiny").experiment_id])) == 2 * len(names_of(study))
    assert not (study / "mlflow").exists()


def test_a_tracker_that_fails_is_left_alone_and_the_others_go_on(
    study_with_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_with_store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (study / "tensorboard").write_text("in the way")
    said = track(study, *EVERY)
    first = dictionaries(api.load_results(study).runs)[0]["run_id"]
    assert len(said) == 3
    assert said[1].startswith(f"tensorboard: {first} was not tracked: ")
    assert said[0].startswith(f"mlflow: {first} was not tracked: ")
    assert all("results are not affected" in line and "\n" not in line and len(line) < 500 for line in said[:2])
    assert wandb_runs(study).keys() == names_of(study)
    (study / "tensorboard").unlink()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    track(study, *EVERY)
    assert {path.name for path in (study / "tensorboard").iterdir()} == names_of(study)
    assert mlflow_runs(study)[1].keys() == names_of(study)


def test_wandb_never_asks_for_a_key(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    with pytest.raises(UserError, match=r"needs an API key.*WANDB_MODE=offline"):
        track(study, "tracking.wandb=true")
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(UserError, match=r"^tracking\.wandb: WANDB_API_KEY invalid"):
        track(study, "tracking.wandb=true")
    assert not (study / "tracked.json").exists()


def test_wandb_may_be_turned_off_from_outside(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert track(study, "tracking.wandb=true") == []
    assert not (study / "tracked.json").exists()


@pytest.mark.parametrize("name", TRACKERS.classes())
def test_a_missing_package_is_named_before_anything_is_done(
    study: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as Python marks what cannot be imported
    with pytest.raises(UserError, match=rf"^tracking\.{name} needs .*tuneoff\[{name}\]'$"):
        track(study, f"tracking.{name}=true")


@pytest.mark.parametrize("content", ["", "[]", '{"wandb": {}}', '{"token": "a", "wandb": []}'])
def test_a_damaged_memory_is_refused(study: Path, content: str) -> None:
    (study / "tracked.json").write_text(content)
    with pytest.raises(UserError, match=r"tracked\.json is damaged; remove it"):
        track(study, "tracking.wandb=true")


def test_tracking_is_off_by_default_and_names_no_run(study: Path) -> None:
    assert track(study) == []
    assert not (study / "tracked.json").exists()
    notes = Notes()
    api.run_study(spec_of(study, "tracking.tensorboard=true"), study, notes, report=False)
    assert notes.plan == (2, 2)
    with pytest.raises(UserError, match="neptune"):
        spec_of(study, "tracking.neptune=true")


@pytest.mark.long
def test_a_study_that_cannot_reach_its_tracker_is_refused_before_anything_is_written(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["full"], seeds=1))
    answer = tuneoff("run", "study.toml", "--set", "tracking.wandb=true", WANDB_MODE="online")
    assert answer.returncode == 2, answer.stdout
    assert "WANDB_API_KEY" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (tmp_path / "studies-out").exists()


@pytest.mark.long
def test_a_study_tells_its_trackers_as_it_goes(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["full", "lora"], seeds=1))
    for _ in range(2):
        answer = tuneoff("run", "study.toml", "--set", "tracking.tensorboard=true")
        assert answer.returncode == 0, answer.stderr
    out = tmp_path / "studies-out" / "tiny"
    told = json.loads((out / "tracked.json").read_text())
    runs = sorted(path.name for path in (out / "runs").iterdir())
    assert sorted(path.name for path in (out / "tensorboard").iterdir() if path.name in runs) == runs
    assert "tensorboard" in json.dumps(told)
