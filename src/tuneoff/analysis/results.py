"""A study's results, read back from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.errors import UserError
from tuneoff.files import read_json
from tuneoff.spec import StudySpec, load_study
from tuneoff.study.prepare import Prepared
from tuneoff.study.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StudyResults:
    """What a study's folder holds.

    Attributes:
        folder: the study's folder.
        spec: the study.
        prepared: sizes, floors and audit findings of its data.
        environment: versions and machine of the last `tuneoff run`.
        planned: the plan's runs: id, arm, method, seed, learning_rate.
        runs: the stored results (see `result.json`), in the plan's order; runs not done yet are absent.
    """

    folder: Path
    spec: StudySpec
    prepared: Prepared
    environment: dict[str, Any]
    planned: list[dict[str, Any]]
    runs: list[dict[str, Any]]

    @property
    def ended(self) -> list[dict[str, Any]]:
        """Results of runs that are not to go on from a checkpoint."""
        return [run for run in self.runs if run["status"] != "interrupted"]

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Results of runs that have ended, but not well."""
        return [run for run in self.ended if run["status"] != "ok"]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`: arms, floors, comparisons, pareto, recommendation, audit."""
        from tuneoff.analysis.summary import summarise

        return summarise(self)

    def of_arm(self, arm: str) -> list[dict[str, Any]]:
        """The results of an arm's runs that succeeded, in the order of seeds."""
        return [run for run in self.runs if run["arm"] == arm and run["status"] == "ok"]

    def correct(self, arm: str) -> NDArray[np.float64]:
        """Which test examples each run of an arm got right: 0 or 1, shape (runs, examples)."""
        store = Store(self.folder)
        rows = []
        for run in self.of_arm(arm):
            frame = store.predictions(run["run_id"])
            rows.append((frame["prediction"] == frame["label"]).to_numpy(dtype=np.float64))
        return np.array(rows)

    def to_pandas(self) -> pd.DataFrame:
        """One row a run, nested fields flattened with a dot (`parameters.trainable`); without the curves."""
        import pandas as pd

        return pd.json_normalize([{key: value for key, value in run.items() if key != "curve"} for run in self.runs])


def load_results(folder: str | Path) -> StudyResults:
    """Reads a study's folder, finished or not.

    Raises:
        UserError: (a `ValueError`) where the folder holds no study, or a damaged one.
    """
    folder = Path(folder)
    store = Store(folder)
    planned = store.planned()
    try:
        prepared = Prepared.model_validate(read_json(folder / "data" / "prepared.json"))
        environment = read_json(folder / "environment.json")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds a damaged study ({error.__class__.__name__}); run it again") from error
    found = [store.result(entry["id"]) for entry in planned]
    return StudyResults(
        folder=folder,
        spec=load_study(folder / "study.toml"),
        prepared=prepared,
        environment=environment,
        planned=planned,
        runs=[result for result in found if result is not None],
    )
