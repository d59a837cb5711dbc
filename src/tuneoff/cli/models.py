"""Saved models as the command line names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tuneoff.core.errors import UserError
from tuneoff.core.files import expanded


def named_models(models: Sequence[str]) -> dict[str, Path]:
    """Folders of saved models by name, each given as `NAME=FOLDER`, or as a folder.

    A folder without a name goes by its own; a run's, which is called `model`, by its arm.

    Raises:
        UserError: where one is no saved model, or two have the same name.
    """
    from tuneoff.models.saved import read_saved  # which is slow to import

    named: dict[str, Path] = {}
    for given in models:
        name, equals, folder = given.partition("=")
        if not equals or Path(given).is_dir():
            name, folder = "", given
        elif not (name and folder):
            raise UserError(f"'{given}': write NAME=FOLDER")
        if not folder:
            raise UserError("the folder of a model is empty; write FOLDER or NAME=FOLDER")
        path = expanded(folder)
        saved, own = read_saved(path), path.resolve().name
        if not name:
            name = saved.arm if own == "model" else own
        if name in named:
            raise UserError(f"'{named[name]}' and '{path}' are both called '{name}'; write NAME=FOLDER")
        named[name] = path
    return named
