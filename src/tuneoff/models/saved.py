"""A folder of a saved model: what is checked before anything is loaded from it, and where its base model is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tuneoff.core.errors import UserError
from tuneoff.core.files import expanded, file_hash
from tuneoff.models.fingerprint import stamp_folder
from tuneoff.models.folder import checked_folder
from tuneoff.models.load import resolve_model
from tuneoff.records.saved_model import SAVED_MODEL, SavedModel

PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


@dataclass(frozen=True)
class SavedFolder:
    """A folder whose files are those that were saved.

    Attributes:
        folder: where it is.
        saved: what it is.
    """

    folder: Path
    saved: SavedModel

    @classmethod
    def open(cls, folder: str | Path) -> SavedFolder:
        """Reads what a folder is, and checks that its files are whole and unchanged.

        Raises:
            UserError: where it is no saved model, or not as it was saved.
        """
        path = expanded(str(folder))
        if not path.is_dir():
            raise UserError(f"'{path}' is not a folder")
        saved = read_saved_model(path)
        for name, expected in saved.sha256.items():
            if not (path / name).is_file():
                raise UserError(f"'{path}' lacks {name}; export or train the model again")
            if file_hash(path / name) != expected:
                raise UserError(f"'{path / name}' is not as it was saved; export or train the model again")
        if not any(name.endswith(".safetensors") for name in saved.sha256):
            raise UserError(f"'{path}' holds no weights as safetensors{_pickles(path)}")
        return cls(path, saved)

    def base_folder(self, given: str | None = None) -> Path | None:
        """Where the base model is; None where none is needed.

        Args:
            given: a folder, `package:NAME` or Hub id in place of what is recorded.

        Raises:
            UserError: where it is not found, or is another model than the one that was trained upon.
        """
        base = self.saved.base
        if self.saved.kind == "whole":
            if given is not None:
                raise UserError(f"'{self.folder}' holds all of its weights; it takes no base model")
            return None
        if given is not None:
            found = resolve_model(given)
        elif not base.is_local:
            found = resolve_model(base.id, base.revision)
        elif base.path is not None and (self.folder / base.path).is_dir():
            found = checked_folder((self.folder / base.path).resolve(), base.id)
        else:
            raise UserError(
                f"'{self.folder}' was trained upon the model in the folder '{base.id}', which is not where it was; "
                "name it with --base FOLDER"
            )
        if base.revision is not None and given is None:
            return found  # a commit is what it is
        if stamp_folder(found).fingerprint != base.fingerprint:
            raise UserError(
                f"the model in '{given or base.id}' is not the one that '{self.folder}' was trained upon (its files "
                "differ); name the right one with --base FOLDER"
            )
        return found


def read_saved_model(folder: Path) -> SavedModel:
    """What a folder says that it is; whether its files are those that were saved, `SavedFolder.open` checks.

    Raises:
        UserError: where it is no saved model.
    """
    path = folder / SAVED_MODEL
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"'{folder}' is no model that tuneoff saved (it has no {SAVED_MODEL}){_pickles(folder)}; "
            "name the folder `model` of a run, or one that `tuneoff export` wrote"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{path}' cannot be read ({type(error).__name__})") from error
    try:
        return SavedModel.model_validate(stored)
    except ValidationError as error:
        raise UserError(f"'{path}' is damaged, or of another version of tuneoff") from error


def _pickles(folder: Path) -> str:
    found = next((path.name for pattern in PICKLES for path in folder.glob(pattern)), None)
    return "" if found is None else f"; {found} is a pickle, which tuneoff never loads"
