"""A trained model of a study, with what it said of the test split: what an export starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.core.files import expanded
from tuneoff.data.parts import split_path
from tuneoff.models.load import PACKAGE_PREFIX
from tuneoff.models.saved import SavedFolder, base_of_study, path_from
from tuneoff.records.saved_model import BaseModel
from tuneoff.runs.files import MODEL
from tuneoff.study.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.run import ScoredRun


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        opened: its folder.
        base_folder: of the model that it was trained upon; None where it is saved whole.
        base: likewise, as an export in another place is to record it.
        test: the study's file of the texts that it was tested on.
        predictions: of these, as in `predictions.parquet`.
    """

    opened: SavedFolder
    base_folder: Path | None
    base: BaseModel
    test: Path
    predictions: pd.DataFrame

    @classmethod
    def of_run(cls, results: StudyResults, run: ScoredRun, to: Path, base: str | None = None) -> Trained:
        """What a run has trained.

        Args:
            results: of the study.
            run: one of its runs.
            to: the folder that it is to be exported to, as an absolute path.
            base: a folder, `package:NAME` or Hub id of the base model, where it is not where it was.

        Raises:
            UserError: where the model was not kept, was changed, or its base model is not found.
        """
        store = Store(results.folder)
        model = store.run_folder(run.run_id) / MODEL
        if not model.is_dir():
            if not results.spec.keep_models:
                raise UserError(
                    "the study kept no models (keep_models = false); run it again with keep_models = true into another "
                    "folder"
                )
            raise UserError(f"{model} is missing; move {model.parent} away, and `tuneoff run` trains it again")
        return cls.of_folder(model, results, run.part, store.predictions(run.run_id), to, base)

    @classmethod
    def of_folder(
        cls, model: Path, results: StudyResults, part: str, predictions: pd.DataFrame, to: Path, base: str | None
    ) -> Trained:
        """What lies in a folder, trained on a part of a study's data; see `of_run`."""
        opened = SavedFolder.open(model)
        base = base if base is not None else base_of_study(opened.saved, results.spec)
        found = opened.base_folder(base)
        recorded = opened.saved.base
        if recorded.is_local:
            recorded = _recorded(opened, found, to, base)
        test = results.folder / "data" / f"{split_path(part, 'test')}.parquet"
        if not test.is_file():
            raise UserError(f"{test} is missing, and with it the texts that an export is checked on")
        return cls(opened, found, recorded, test, predictions)


def _recorded(opened: SavedFolder, found: Path | None, to: Path, given: str | None) -> BaseModel:
    """The folder of a base model, as it lies from an export."""
    base = opened.saved.base
    if given is not None:
        assert found is not None
        in_folder = not given.startswith(PACKAGE_PREFIX) and expanded(given).is_dir()
        if not in_folder:
            return base.model_copy(update={"path": None})
        return base.model_copy(update={"id": found.resolve().name, "path": path_from(to, found.resolve())})
    if base.path is None:
        return base
    return base.model_copy(update={"path": path_from(to, (opened.folder.resolve() / base.path).resolve())})
