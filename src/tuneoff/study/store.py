"""The store: a study's folder, with one atomic result a run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tuneoff.core.errors import UserError
from tuneoff.core.files import (
    canonical_hash,
    file_hash,
    read_json,
    remove_temporaries,
    replacing,
    write_json,
    write_text,
)
from tuneoff.records.plan import STORED_PLAN, PlanEntry
from tuneoff.records.progress import StoredProgress
from tuneoff.records.run import RESULT_SCHEMA_VERSION, STORED_RESULT, RunResult, ScoredRun, TrainedRun
from tuneoff.records.state import RunState
from tuneoff.runs.files import CHECKPOINT, PREDICTIONS, PROGRESS, RESULT
from tuneoff.runs.progress import RunProgress
from tuneoff.study.lock import running_driver

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from tuneoff.records.environment import Environment
    from tuneoff.runs.run import Run
    from tuneoff.spec import StudySpec
    from tuneoff.tasks.base import Task


PROGRESS_SECONDS = 1.0
STUDIES = Path("studies-out")
"""Where studies are written unless their folders are named."""


class Store:
    """Reads and writes a study's folder.

    Args:
        folder: the study's folder; made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._progress_written: dict[str, float] = {}

    def remove_leftovers(self) -> None:
        """Removes what killed processes have left behind and nobody needs; only under the folder's lock."""
        data = self.folder / "data"
        runs = [path for path in (self.folder / "runs").glob("*") if path.is_dir()]
        for folder in (self.folder, self.folder / "charts", data, *data.rglob("*"), *runs):
            remove_temporaries(folder)
        for folder in runs:
            (folder / PROGRESS).unlink(missing_ok=True)
            if (folder / CHECKPOINT).exists() and isinstance(self.result(folder.name), TrainedRun):
                (folder / CHECKPOINT).unlink()

    def write_study(self, spec: StudySpec, runs: Iterable[Run], environment: Environment) -> None:
        """Writes `study.toml`, `plan.json` and `environment.json`."""
        write_text(self.folder / "study.toml", spec.to_toml())
        write_json(self.folder / "plan.json", [run.entry().model_dump(mode="json") for run in runs])
        write_json(self.folder / "environment.json", environment.model_dump(mode="json"))

    def planned(self) -> list[PlanEntry]:
        """The entries of `plan.json`.

        Raises:
            UserError: where the folder holds no study, or results of another version that this one cannot read.
        """
        path = self.folder / "plan.json"
        try:
            entries = read_json(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise no_study(self.folder, path.name) from error
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}; run the study again") from error
        try:
            planned = list(STORED_PLAN.validate_python(entries))
        except ValidationError as error:
            raise UserError(f"{path} is damaged: it is no list of runs; run the study again") from error
        if self._is_of_another_version(entry.id for entry in planned):
            raise UserError(
                f"{self.folder} was written by another version of tuneoff, whose results this one cannot read: "
                f"tuneoff run {self.folder / 'study.toml'} --out {self.folder} trains its runs anew; until then "
                "report.html there shows what they were"
            )
        return planned

    def run_folder(self, run_id: str) -> Path:
        """Where a run's files are."""
        return self.folder / "runs" / run_id

    def result(self, run_id: str) -> RunResult | None:
        """A run's stored result, or None where there is none that is whole and of this schema."""
        return self.examine(run_id)[0]

    def all_results(self) -> list[RunResult]:
        """All results that are whole and of this schema, whether or not they are planned."""
        names = sorted(path.name for path in (self.folder / "runs").glob("*") if path.is_dir())
        return [result for result in map(self.result, names) if result is not None]

    def results_of_other_versions(self) -> int:
        """How many results in the folder this version cannot read."""
        versions = [self._schema_version(path.parent.name) for path in (self.folder / "runs").glob(f"*/{RESULT}")]
        return sum(version not in (None, RESULT_SCHEMA_VERSION) for version in versions)

    def _is_of_another_version(self, run_ids: Iterable[str]) -> bool:
        """Whether there are results and none of them is of this version; one alone among others has been changed."""
        found = (self._schema_version(run_id) for run_id in run_ids)
        versions = (version for version in found if version is not None)
        first = next(versions, RESULT_SCHEMA_VERSION)
        return first != RESULT_SCHEMA_VERSION and all(version != RESULT_SCHEMA_VERSION for version in versions)

    def _schema_version(self, run_id: str) -> int | None:
        """That of a run's stored result; None where it cannot be read."""
        try:
            version = read_json(self.run_folder(run_id) / RESULT)["schema_version"]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return version if isinstance(version, int) else None

    def examine(self, run_id: str) -> tuple[RunResult | None, str | None]:
        """A run's result where it can be trusted, or else why it cannot."""
        folder = self.run_folder(run_id)
        try:
            stored = read_json(folder / RESULT)
        except FileNotFoundError:
            return None, None
        except (OSError, ValueError, RecursionError):
            return None, "its result.json cannot be read"
        if not isinstance(stored, dict):
            return None, "its result.json holds no result"
        if stored.get("schema_version") != RESULT_SCHEMA_VERSION:
            return None, "its result.json was written by another version of tuneoff"
        if stored.get("run_id") != run_id:
            return None, "its result.json belongs to another run"
        if stored.get("sha256") != _digest(stored):
            return None, "its result.json has been changed"
        try:
            result = STORED_RESULT.validate_python(stored)
        except ValidationError:
            return None, "its result.json was written by another version of tuneoff"
        if isinstance(result, ScoredRun) and not _has_hash(folder / PREDICTIONS, result.predictions_sha256):
            return None, "its predictions are missing or have been changed"
        return result, None

    def write_progress(self, run_id: str, progress: RunProgress, total: int) -> None:
        """Says in a run's folder how far it is, of `total` steps, for `states`; at most once a second."""
        now = time.monotonic()
        if progress.steps and now - self._progress_written.get(run_id, 0.0) < PROGRESS_SECONDS:
            return
        self._progress_written[run_id] = now
        write_json(self.run_folder(run_id) / PROGRESS, progress.entry(total).model_dump(mode="json"))

    def states(self) -> list[RunState]:
        """How each planned run stands."""
        running = running_driver(self.folder) is not None
        states = []
        for entry in self.planned():
            progress = self._read_progress(entry.id) if running else None
            result = self.result(entry.id) if progress is None else None
            states.append(RunState(entry, progress, result))
        return states

    def _read_progress(self, run_id: str) -> StoredProgress | None:
        try:
            return StoredProgress.model_validate(read_json(self.run_folder(run_id) / PROGRESS))
        except (OSError, ValueError):
            return None

    def write_result(self, result: RunResult, predictions: pd.DataFrame | None) -> None:
        """Writes `predictions.parquet` (of a run that was tested), then `result.json`, which makes the run done."""
        folder = self.run_folder(result.run_id)
        if predictions is not None:
            digest = self._write_predictions(folder, predictions)
            result = result.model_copy(update={"predictions_sha256": digest})
        self._keep(folder, result)
        (folder / PROGRESS).unlink(missing_ok=True)
        if result.status != "interrupted":
            (folder / CHECKPOINT).unlink(missing_ok=True)

    def _keep(self, folder: Path, result: RunResult) -> None:
        """Writes `result.json`."""
        stored = result.model_dump(mode="json")
        write_json(folder / RESULT, {**stored, "sha256": _digest(stored)})

    def _write_predictions(self, folder: Path, predictions: pd.DataFrame) -> str:
        """Writes `predictions.parquet`, and returns its hash."""
        with replacing(folder / PREDICTIONS) as temporary:
            predictions.to_parquet(temporary)
        return file_hash(folder / PREDICTIONS)

    def predictions(self, run_id: str) -> pd.DataFrame:
        """Test predictions of a run: `example` (row of the test split), `label`, `prediction`, `logits`."""
        import pandas as pd

        return pd.read_parquet(self.run_folder(run_id) / PREDICTIONS)


def predictions_of(task: Task, codes: NDArray[np.int64], logits: NDArray[np.float32]) -> pd.DataFrame:
    """The content of `predictions.parquet`: `example`, `label`, `prediction`, `logits`.

    Args:
        task: says what codes and logits mean.
        codes: labels of the test split.
        logits: of its texts, shape (examples, outputs).
    """
    import pandas as pd

    columns: dict[str, object] = {
        "example": range(len(codes)),
        "label": task.as_column(task.truth(codes)),
        "prediction": task.as_column(task.answers(logits)),
        "logits": list(logits),
    }
    return pd.DataFrame(columns)


def no_study(folder: Path, lacking: str) -> UserError:
    """The error to raise where a folder lacks a file of a study."""
    usual = STUDIES / folder
    meant = f"; did you mean {usual}?" if (usual / lacking).is_file() and not folder.is_absolute() else ""
    return UserError(f"{folder} holds no study (it has no {lacking}){meant}")


def set_aside(folder: Path, path: Path) -> Path:
    """Moves something in a study's folder out of the way, under `set-aside/`, and returns its new place."""
    number = 1
    while (place := folder / "set-aside" / f"{path.name}-{number}").exists():
        number += 1
    place.parent.mkdir(exist_ok=True)
    return path.rename(place)


def _has_hash(path: Path, expected: str | None) -> bool:
    try:
        return file_hash(path) == expected
    except OSError:
        return False


def _digest(result: Mapping[str, object]) -> str:
    """Hash of a result without the hash that it carries."""
    return canonical_hash({key: value for key, value in result.items() if key != "sha256"})
