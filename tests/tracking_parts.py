"""What the tests of trackers share: a study carried out without them, what is tracked of it, and what stores hold."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tuneoff as api
from conftest import study_toml
from stored import dictionaries
from tuneoff.records.run import RunResult
from tuneoff.runs.run import Run
from tuneoff.study.ahead import Ahead
from tuneoff.study.listener import Silent
from tuneoff.tracking import Trackers

CURVES = ("train_loss", "validation_loss", "validation_accuracy")


class Notes(Silent):
    """Keeps how much of a plan was done already, and results as the driver has them."""

    def __init__(self) -> None:
        self.plan: tuple[int, int] = (0, 0)
        self.results: list[RunResult] = []

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        self.plan = (runs, done)

    def run_finished(self, run: Run, result: RunResult) -> None:
        self.results.append(result)


@pytest.fixture(scope="module")
def finished(
    tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[RunResult]]:
    """A study of two arms with one seed, tuned and carried out without trackers: its folder, and what a driver saw."""
    folder = tmp_path_factory.mktemp("tracked")
    toml = study_toml(tiny_model, data_files, ["full", "lora"], seeds=1)
    (folder / "study.toml").write_text(toml.replace("trials = 1", "trials = 2"))
    notes = Notes()
    assert api.run_study(api.load_study(folder / "study.toml"), folder / "out", notes).failed == []
    return folder / "out", notes.results


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A person who has no W&B account, no MLflow server and no network."""
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_GROUP", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield
    wandb.teardown()  # W&B reads its environment once


@pytest.fixture
def study(finished: tuple[Path, list[RunResult]], tmp_path: Path) -> Path:
    """A copy of the finished study's folder."""
    shutil.copytree(finished[0], tmp_path / "out", symlinks=True)
    return tmp_path / "out"


def spec_of(study: Path, *overrides: str) -> api.StudySpec:
    return api.load_study(study / "study.toml", overrides)


def track(study: Path, *overrides: str) -> list[str]:
    """Tracks what a study's folder holds, as the end of `tuneoff run` does; returns what was said."""
    said: list[str] = []
    Trackers(spec_of(study, *overrides), study, said.append).study_ended(api.load_results(study))
    return said


def names_of(study: Path) -> set[str]:
    """What every tracker has an entry for."""
    results = api.load_results(study)
    return {run["run_id"] for run in [*dictionaries(results.trials), *dictionaries(results.runs)]} | {"study"}


def curve_of(result: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    return {f"curve/{name}": [(entry["step"], entry[name]) for entry in result["curve"]] for name in CURVES}


def wandb_runs(study: Path) -> dict[str, dict[str, Any]]:
    """W&B's offline runs by name: `id`, `group`, `project`, `config`, `summary`, `history`, `kinds` of its records."""
    from wandb.proto.wandb_internal_pb2 import Record

    runs = {}
    for path in study.glob("wandb/offline-run-*/*.wandb"):
        run: dict[str, Any] = {"config": {}, "summary": {}, "history": [], "kinds": set()}
        for content in wandb_records(path):
            record = Record()
            record.ParseFromString(content)
            kind = record.WhichOneof("record_type")
            run["kinds"].add(kind)
            if kind == "run":
                fields = ("run_id", "display_name", "run_group", "project", "job_type")
                run |= {field: getattr(record.run, field) for field in fields}
                run["config"] |= items(record.run.config.update)
            elif kind == "summary":
                run["summary"] |= items(record.summary.update)
            elif kind == "history":
                run["history"].append(items(record.history.item))
        assert run["display_name"] not in runs
        runs[run["display_name"]] = run
    return runs


def items(entries: Any) -> dict[str, Any]:
    return {entry.key or ".".join(entry.nested_key): json.loads(entry.value_json) for entry in entries}


def wandb_records(path: Path) -> Iterator[bytes]:
    """The records of a W&B file: LevelDB's log format in blocks of 32 KiB, after seven bytes of W&B's own."""
    content, at, parts = path.read_bytes(), 7, b""
    while at < len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


def tensorboard_numbers(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder)).Reload()
    tensors = {tag: events.Tensors(tag) for tag in events.Tags()["tensors"]}
    return {
        tag: [(event.step, make_ndarray(event.tensor_proto).item()) for event in found]
        for tag, found in tensors.items()
        if tag.startswith(("curve/", "summary/"))
    }


def mlflow_runs(study: Path, uri: str | None = None) -> tuple[Any, dict[str, Any]]:
    """MLflow's client and its runs that are not deleted, by name."""
    from mlflow import MlflowClient

    client = MlflowClient(uri or f"sqlite:///{study / 'mlflow' / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    runs = {run.info.run_name: run for run in found}
    assert len(runs) == len(found)
    return client, runs
