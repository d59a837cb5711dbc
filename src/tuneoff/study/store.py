"""The store: a study's folder, with one atomic result a run."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import psutil

from tuneoff.errors import UserError
from tuneoff.files import canonical_hash, file_hash, read_json, replacing, write_json, write_text
from tuneoff.study.plan import RESULT_SCHEMA_VERSION

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from tuneoff.spec import StudySpec
    from tuneoff.study.plan import Run


LOCK = ".lock"
DRIVER = "driver.json"
RESULT = "result.json"
PREDICTIONS = "predictions.parquet"
PROGRESS = "progress.json"
CHECKPOINT = "checkpoint.pt"
SCORES = ("test_accuracy", "train_seconds", "wall_seconds", "error")
PROGRESS_SECONDS = 1.0


class Store:
    """Reads and writes a study's folder.

    Args:
        folder: the study's folder; made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._progress_written: dict[str, float] = {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second `tuneoff run` out of this folder; the lock ends with the process, however it ends.

        Raises:
            UserError: where another process holds the lock, or the folder cannot be written.
        """
        made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / LOCK, timeout=0)
            lock.acquire()
        except filelock.Timeout as error:
            driver = self.driver()
            who = f" (process {driver['pid']} on {driver['host']})" if driver else ""
            message = (
                f"another tuneoff{who} is running a study in {self.folder}; wait for it, or choose another folder "
                "with --out"
            )
            raise UserError(message) from error
        except OSError as error:
            raise UserError(f"{self.folder} cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            (self.folder / DRIVER).unlink(missing_ok=True)
            lock.release()
            self._remove_if_unused(made)

    def driver(self) -> dict[str, Any] | None:
        """The process that runs this study now: `pid`, `host`, `started`, `workers`; None where there is none.

        A driver on this host that has died is recognised and left out.
        """
        try:
            driver: dict[str, Any] = read_json(self.folder / DRIVER)
        except (OSError, ValueError):
            return None
        if driver["host"] != platform.node():
            return driver
        try:
            alive = abs(psutil.Process(driver["pid"]).create_time() - driver["process_created"]) < 1
        except psutil.NoSuchProcess:
            return None
        return driver if alive else None

    def _remove_if_unused(self, made: list[Path]) -> None:
        """Leaves no trace of a study that was refused: removes the folders made for it if they hold only the lock."""
        if [path.name for path in self.folder.iterdir()] == [LOCK]:
            (self.folder / LOCK).unlink()
        for path in made:
            if any(path.iterdir()):
                return
            path.rmdir()

    def write_study(self, spec: StudySpec, environment: dict[str, Any], runs: Iterable[Run]) -> None:
        """Writes `study.toml`, `environment.json` and `plan.json`."""
        write_text(self.folder / "study.toml", spec.to_toml())
        write_json(self.folder / "environment.json", environment)
        write_json(self.folder / "plan.json", [run.entry() for run in runs])
        created = psutil.Process().create_time()
        driver = {"pid": os.getpid(), "host": platform.node(), "started": time.time(), "process_created": created}
        write_json(self.folder / DRIVER, driver)

    def planned(self) -> list[dict[str, Any]]:
        """The entries of `plan.json`.

        Raises:
            UserError: where the folder holds no study.
        """
        try:
            entries: list[dict[str, Any]] = read_json(self.folder / "plan.json")
        except FileNotFoundError as error:
            raise UserError(f"{self.folder} holds no study (it has no plan.json)") from error
        except ValueError as error:
            raise UserError(f"{self.folder / 'plan.json'} is damaged: {error}; run the study again") from error
        return entries

    def run_folder(self, run_id: str) -> Path:
        """Where a run's files are."""
        return self.folder / "runs" / run_id

    def result(self, run_id: str) -> dict[str, Any] | None:
        """A run's stored result, or None where there is none that is whole and of this schema."""
        return None if self.damage(run_id) else self._read(run_id)

    def damage(self, run_id: str) -> str | None:
        """Why a run's stored result cannot be trusted; None where it can, or where there is none."""
        try:
            result = self._read(run_id)
        except (OSError, ValueError):
            return "its result.json cannot be read"
        if result is None:
            return None
        if not isinstance(result, dict) or result.get("schema_version") != RESULT_SCHEMA_VERSION:
            return "its result.json was written by another version of tuneoff"
        if result.get("run_id") != run_id:
            return "its result.json belongs to another run"
        if result.get("sha256") != _digest(result):
            return "its result.json has been changed"
        predictions = self.run_folder(run_id) / PREDICTIONS
        if result["status"] == "ok" and (
            not predictions.exists() or file_hash(predictions) != result["predictions_sha256"]
        ):
            return "its predictions are missing or have been changed"
        return None

    def set_aside(self, run_id: str) -> Path:
        """Moves a run's folder out of the way, under `set-aside/`, and returns its new place."""
        number = 1
        while (place := self.folder / "set-aside" / f"{run_id}-{number}").exists():
            number += 1
        place.parent.mkdir(exist_ok=True)
        self.run_folder(run_id).rename(place)
        return place

    def _read(self, run_id: str) -> Any:
        try:
            return read_json(self.run_folder(run_id) / RESULT)
        except FileNotFoundError:
            return None

    def write_progress(self, run_id: str, step: int, steps: int) -> None:
        """Says in a run's folder how far it is, for `states`; at most once a second."""
        now = time.time()
        if step and now - self._progress_written.get(run_id, 0.0) < PROGRESS_SECONDS:
            return
        self._progress_written[run_id] = now
        write_json(self.run_folder(run_id) / PROGRESS, {"step": step, "steps": steps, "time": now})

    def states(self) -> list[dict[str, Any]]:
        """Each planned run with its `state` (ok, failed, oom, timeout, interrupted, running or left).

        Runs that have ended carry their scores; those that run, `step` and `steps`.
        """
        running = self.driver() is not None
        states = []
        for entry in self.planned():
            state = {**entry, "state": "left"}
            progress = self._progress(entry["id"])
            result = self.result(entry["id"])
            if running and progress is not None:
                state |= {"state": "running", "step": progress["step"], "steps": progress["steps"]}
            elif result is not None:
                scores = {key: result[key] for key in SCORES if key in result}
                state |= {"state": result["status"], **scores}
            states.append(state)
        return states

    def _progress(self, run_id: str) -> dict[str, Any] | None:
        try:
            progress: dict[str, Any] = read_json(self.run_folder(run_id) / PROGRESS)
        except (OSError, ValueError):
            return None
        return progress

    def write_result(
        self, result: dict[str, Any], logits: NDArray[np.float32] | None, labels: NDArray[np.int64]
    ) -> None:
        """Writes `predictions.parquet` (for a run that succeeded), then `result.json`, which makes the run done."""
        folder = self.run_folder(result["run_id"])
        if logits is not None:
            import pandas as pd

            columns: dict[str, Any] = {
                "example": range(len(labels)),
                "label": labels,
                "prediction": logits.argmax(axis=1),
                "logits": list(logits),
            }
            frame = pd.DataFrame(columns)
            with replacing(folder / PREDICTIONS) as temporary:
                frame.to_parquet(temporary)
            result = {**result, "predictions_sha256": file_hash(folder / PREDICTIONS)}
        write_json(folder / RESULT, {**result, "sha256": _digest(result)})
        (folder / PROGRESS).unlink(missing_ok=True)
        if result["status"] != "interrupted":
            (folder / CHECKPOINT).unlink(missing_ok=True)

    def predictions(self, run_id: str) -> pd.DataFrame:
        """Test predictions of a run: `example` (row of the test split), `label`, `prediction`, `logits`."""
        import pandas as pd

        return pd.read_parquet(self.run_folder(run_id) / PREDICTIONS)


def _digest(result: dict[str, Any]) -> str:
    """Hash of a result without the hash that it carries."""
    return canonical_hash({key: value for key, value in result.items() if key != "sha256"})
