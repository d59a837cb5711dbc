"""The store: a study's folder, with one atomic result a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from tuneoff.errors import UserError
from tuneoff.files import read_json, replacing, write_json, write_text
from tuneoff.study.plan import RESULT_SCHEMA_VERSION

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from tuneoff.spec import StudySpec
    from tuneoff.study.plan import Run


LOCK = ".lock"
SCORES = ("test_accuracy", "train_seconds", "error")


class Store:
    """Reads and writes a study's folder.

    Args:
        folder: the study's folder; made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
            message = (
                f"another tuneoff is running a study in {self.folder}; wait for it, or choose another folder with --out"
            )
            raise UserError(message) from error
        except OSError as error:
            raise UserError(f"{self.folder} cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()
            self._remove_if_unused(made)

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
        """A run's stored result, or None where there is no whole one of this schema."""
        try:
            result: dict[str, Any] = read_json(self.run_folder(run_id) / "result.json")
        except (FileNotFoundError, ValueError):
            return None
        if result.get("schema_version") != RESULT_SCHEMA_VERSION or result.get("run_id") != run_id:
            return None
        if result["status"] == "ok" and not (self.run_folder(run_id) / "predictions.parquet").exists():
            return None
        return result

    def states(self) -> list[dict[str, Any]]:
        """Each planned run with its `state` (ok, failed, oom or left), and its scores where it is done."""
        states = []
        for entry in self.planned():
            result: dict[str, Any] = self.result(entry["id"]) or {"status": "left"}
            scores = {key: result[key] for key in SCORES if key in result}
            states.append({**entry, "state": result["status"], **scores})
        return states

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
            with replacing(folder / "predictions.parquet") as temporary:
                frame.to_parquet(temporary)
        write_json(folder / "result.json", result)

    def predictions(self, run_id: str) -> pd.DataFrame:
        """Test predictions of a run: `example` (row of the test split), `label`, `prediction`, `logits`."""
        import pandas as pd

        return pd.read_parquet(self.run_folder(run_id) / "predictions.parquet")
