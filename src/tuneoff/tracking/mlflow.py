"""MLflow: the server or store that `MLFLOW_TRACKING_URI` names, or else one in the study's folder."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tuneoff.records.run import TrainedRun
from tuneoff.tracking.base import (
    TABLE,
    Tracker,
    Value,
    numbers,
    require,
    run_config,
    run_curve,
    run_outcome,
    study_charts,
    study_outcome,
    study_table,
    words,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.run import RunResult
    from tuneoff.spec import StudySpec

IDENTITY = "tuneoff.identity"
"""The tag that a run is found by."""
MOST_AT_A_TIME = 100
"""Parameters or tags that MLflow takes in one call."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Where the user has not said otherwise: nothing is sent to MLflow's makers, and no server is waited for long."""


class MlflowTracker(Tracker):
    """An experiment a study; a run a run, and one more for the study itself with its table and charts."""

    name = "mlflow"

    @classmethod
    def check(cls, spec: StudySpec) -> bool:
        require("mlflow", "mlflow", "sqlalchemy", "alembic")
        return True

    def waits_for_server(self) -> bool:
        return self._elsewhere is not None and urlsplit(self._elsewhere).scheme not in ("sqlite", "file")

    def track_run(self, result: RunResult) -> None:
        begun = _milliseconds() - int(1000 * (result.wall_seconds if isinstance(result, TrainedRun) else 0))
        with _quiet(), self._run(result.run_id, begun, failed=result.status != "ok") as run:
            outcome = run_outcome(result)
            points = [*run_curve(result), (result.steps, numbers(outcome))]
            self._log(run, points, words(outcome), run_config(self._study, result))

    def track_study(self, results: StudyResults) -> None:
        with _quiet(), self._run("study", _milliseconds(), failed=False) as run:
            outcome = study_outcome(results.summary)
            self._log(run, [(0, numbers(outcome))], words(outcome), {})
            self._client.log_text(run, _csv(study_table(results.summary)), "arms.csv")
            for path in study_charts(results):
                self._client.log_artifact(run, str(path), "charts")

    def where(self) -> str:
        if self._elsewhere:
            return f"experiment {self._study.spec.name} at MLFLOW_TRACKING_URI"
        return f"mlflow ui --backend-store-uri {self._store}"

    @property
    def _elsewhere(self) -> str | None:
        return os.environ.get("MLFLOW_TRACKING_URI")

    @property
    def _store(self) -> str:
        return f"sqlite:///{self._study.folder / 'mlflow' / 'mlflow.db'}"

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        if self._elsewhere:
            return MlflowClient(self._elsewhere)
        (self._study.folder / "mlflow").mkdir(exist_ok=True)
        return MlflowClient(self._store)

    @cached_property
    def _experiment(self) -> str:
        name = self._study.spec.name
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        own = (self._study.folder / "mlflow" / "artifacts").as_uri()
        return self._client.create_experiment(name, artifact_location=None if self._elsewhere else own)

    @contextmanager
    def _run(self, name: str, begun: int, failed: bool) -> Iterator[str]:
        """A new run, in place of one that is there already; `begun` in milliseconds since 1970."""
        identity = self._study.identity(name)
        for old in self._client.search_runs([self._experiment], f"tags.`{IDENTITY}` = '{identity}'"):
            self._client.delete_run(old.info.run_id)
        run = self._client.create_run(self._experiment, begun, tags={IDENTITY: identity}, run_name=name)
        yield run.info.run_id
        self._client.set_terminated(run.info.run_id, "FAILED" if failed else "FINISHED")

    def _log(
        self,
        run: str,
        points: Iterable[tuple[int, Mapping[str, float]]],
        tags: Mapping[str, Value],
        params: Mapping[str, Value],
    ) -> None:
        """Logs metrics by step, tags and parameters, in as few calls as MLflow allows."""
        from mlflow.entities import Metric, Param, RunTag

        now = _milliseconds()
        lists = (
            [Metric(name, value, now, step) for step, values in points for name, value in values.items()],
            [Param(name, str(value)) for name, value in params.items()],
            [RunTag(name, str(value)) for name, value in tags.items()],
        )
        for start in range(0, max(map(len, lists)), MOST_AT_A_TIME):
            self._client.log_batch(run, *(entries[start : start + MOST_AT_A_TIME] for entries in lists))


@contextmanager
def _quiet() -> Iterator[None]:
    """Sets what MLflow reads from the environment, where it is not set."""
    added = {name: value for name, value in QUIET.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


def _csv(table: list[dict[str, Value | None]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(TABLE))
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()
