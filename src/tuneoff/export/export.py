"""Exporting a trained model of a study into a folder of its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tuneoff.core.errors import UserError, one_line
from tuneoff.core.files import expanded, is_disk_trouble, replacing_directory
from tuneoff.core.texts import counted
from tuneoff.export.as_merged import write_merged
from tuneoff.export.as_model import write_model
from tuneoff.export.as_onnx import write_onnx
from tuneoff.export.check import TEXTS, check_export
from tuneoff.export.trained import Trained
from tuneoff.models.save import write_saved
from tuneoff.records.saved_model import SavedModel

ExportFormat = Literal["model", "merged", "onnx"]
WRITERS: dict[ExportFormat, Callable[[Trained, Path], SavedModel]] = {
    "model": write_model,
    "merged": write_merged,
    "onnx": write_onnx,
}


def free_folder(name: str, study: Path) -> Path:
    """The absolute path of a folder that is to be written.

    Args:
        name: as the user wrote it.
        study: the folder of the study, which takes no other files.

    Raises:
        UserError: where something is there already, it cannot be written, or it lies in the study.
    """
    if not name:
        raise UserError("--to is empty; name a folder")
    path = expanded(name).resolve()
    if path.is_relative_to(study.resolve()):
        raise UserError(f"--to: '{name}' lies in the study's own folder; name one outside it")
    if path.exists() and not path.is_dir():
        raise UserError(f"--to: '{name}' is a file")
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"--to: '{name}' is there already and not empty; name another folder")
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    if not nearest.is_dir():
        raise UserError(f"--to: '{nearest}' is a file, in which there can be no folder")
    if not (os.access(path.parent if path.exists() else nearest, os.W_OK | os.X_OK)):
        raise UserError(f"--to: '{name}' cannot be written: {os.strerror(errno.EACCES)}")
    return path


def export_model(
    trained: Trained,
    to: Path,
    form: ExportFormat,
    say: Callable[[str], None],
    most_texts: int | None = TEXTS,
    describe: Callable[[Path, SavedModel], None] | None = None,
) -> SavedModel:
    """Writes a folder, whole and checked or not at all.

    Args:
        trained: what is exported.
        to: from `free_folder`.
        form: what is written.
        say: told what goes on.
        most_texts: test texts that it is checked on, evenly spread; all when None.
        describe: writes a model card into the folder; a few lines stand there when None.

    Returns:
        What was written, with its check.

    Raises:
        UserError: where it cannot be written so, or is not what was trained.
    """
    try:
        with replacing_directory(to) as new:
            saved = WRITERS[form](trained, new)
            texts = len(trained.predictions)
            checked = texts if most_texts is None else min(texts, most_texts)
            say(f"Checking it in a fresh process, on {checked:,} of {counted(texts, 'test text')}")
            check = check_export(trained, saved, new, most_texts)
            saved = saved.model_copy(update={"check": check})
            write_saved(new, saved)
            if describe is not None:
                describe(new, saved)
            return saved
    except UserError:
        raise
    except Exception as error:
        if is_disk_trouble(error):
            number = error.errno if isinstance(error, OSError) else None  # whose text names temporary files
            reason = one_line(error) if number is None else os.strerror(number)
            raise UserError(f"{to} cannot be written ({reason}); nothing is left of it") from error
        raise
