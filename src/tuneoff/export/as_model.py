"""An export of what a run saved, as it is: an adapter or head beside its base model, or all weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from tuneoff.core.files import read_json, write_json
from tuneoff.export.trained import Trained
from tuneoff.models.folder import ADAPTER
from tuneoff.models.save import base_name, describe_saved
from tuneoff.records.saved_model import SavedModel


def write_model(trained: Trained, folder: Path) -> SavedModel:
    """Copies a trained model into a folder, from where it finds its base model."""
    for name in trained.opened.saved.sha256:
        shutil.copyfile(trained.opened.folder / name, folder / name)
    adapter = folder / ADAPTER
    if adapter.is_file():
        write_json(adapter, {**read_json(adapter), "base_model_name_or_path": base_name(trained.base)})
    return describe_saved(folder, trained.opened.saved.model_copy(update={"base": trained.base}))
