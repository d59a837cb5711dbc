"""A folder of a saved model: what is checked before anything is loaded from it, and where its base model is."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tuneoff.core.errors import UserError, saying
from tuneoff.core.files import expanded, file_hash
from tuneoff.models.fingerprint import stamp_folder
from tuneoff.models.folder import ADAPTER, checked_folder
from tuneoff.models.load import resolve_model
from tuneoff.records.saved_model import SAVED_MODEL, SavedKind, SavedModel
from tuneoff.spec.data import TASKS
from tuneoff.spec.quantization import QUANTIZATIONS

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec

WEIGHTS: dict[SavedKind, tuple[str, ...]] = {
    "whole": ("model.safetensors", "model.safetensors.index.json"),
    "adapter": ("adapter_model.safetensors",),
    "bottleneck": ("bottlenecks.safetensors",),
    "features": ("head.safetensors",),
    "onnx": ("model.onnx",),
}
"""Where the weights are; the second name is of an index of several files."""
NO_STUDY_FILE = (r"use local files instead \(.*", "name a local folder with --base")
"""What errors of the Hub advise who has a study file, and what is said where there is none."""
QUANTISATION = "quantization_config.json"
"""What `transformers.BitsAndBytesConfig` takes, of an adapter whose base is in 4 bits."""
ANEW = "export or train the model again"
HOLD_PROMPTS = ("adapter", "whole", "onnx")
"""Kinds of saved models that there may be virtual tokens in."""
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
        saved = read_saved(path)
        for name, expected in saved.sha256.items():
            if not (path / name).is_file():
                raise UserError(f"'{path}' lacks {name}; export or train the model again")
            if file_hash(path / name) != expected:
                raise UserError(f"'{path / name}' is not as it was saved; export or train the model again")
        if not any(name in saved.sha256 for name in WEIGHTS[saved.kind]):
            raise UserError(f"'{path}' holds no {WEIGHTS[saved.kind][0]}{_pickles(path)}")
        for name in ("config.json", "tokenizer_config.json", *((ADAPTER,) if saved.kind == "adapter" else ())):
            if name not in saved.sha256:
                raise UserError(f"'{path}' lacks {name}; export or train the model again")
            if "auto_map" in _json_object(path / name):
                raise UserError(f"'{path / name}' asks for code of its own (auto_map), which tuneoff never runs")
        _check_agreement(path, saved)
        return cls(path, saved)

    def base_folder(self, given: str | None = None) -> Path | None:
        """Where the base model is; None where none is needed.

        Args:
            given: a folder, `package:NAME` or Hub id in place of what is recorded.

        Raises:
            UserError: where it is not found, or is another model than the one that was trained upon.
        """
        base = self.saved.base
        if not self.saved.needs_base:
            if given is not None:
                raise UserError(f"'{self.folder}' holds all of its weights; it takes no base model")
            return None
        if given is not None:
            found = named_base(given)
        elif not base.is_local:
            with saying((r"\bmodel\.id: ", "the base model: "), NO_STUDY_FILE):
                found = resolve_model(base.id, base.revision)
        elif base.path is not None and (self.folder / base.path).is_dir():
            with saying((r"\bmodel\.id: ", "the base model: "), NO_STUDY_FILE):
                found = checked_folder((self.folder / base.path).resolve(), base.id)
        else:
            where = "which is not where it was" if base.path else "and does not say where on this machine that is"
            raise UserError(
                f"'{self.folder}' was trained upon the model in the folder '{base.id}', {where}; "
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


def _check_agreement(folder: Path, saved: SavedModel) -> None:
    """Makes sure that what a folder says of itself is what its other files, whose hashes are known, say.

    Raises:
        UserError: where it is not.
    """
    names = _json_object(folder / "config.json").get("id2label")
    in_order = tuple(str(names[number]) for number in sorted(names, key=int)) if isinstance(names, dict) else None
    if in_order is not None and in_order != saved.texts.label_names:
        raise UserError(f"'{folder}' names other classes in {SAVED_MODEL} than in config.json; {ANEW}")
    try:
        task = TASKS.named(saved.texts.task)
    except ValueError as error:
        raise UserError(f"'{folder / SAVED_MODEL}': {error}") from error
    if _json_object(folder / "config.json").get("problem_type", task.problem_type) != task.problem_type:
        raise UserError(f"'{folder}' says another task in {SAVED_MODEL} than in config.json; {ANEW}")
    if saved.quantization is not None:
        try:
            bits = QUANTIZATIONS.named(saved.quantization).bits
        except ValueError as error:
            raise UserError(f"'{folder / SAVED_MODEL}': {error}") from error
        if QUANTISATION in saved.sha256 and not _json_object(folder / QUANTISATION).get(f"load_in_{bits}bit"):
            raise UserError(f"'{folder}' says another quantization in {SAVED_MODEL} than in {QUANTISATION}; {ANEW}")
    if saved.virtual_tokens >= saved.texts.max_length or (saved.virtual_tokens and saved.kind not in HOLD_PROMPTS):
        raise UserError(f"'{folder / SAVED_MODEL}' says of virtual tokens what cannot be; {ANEW}")


def named_base(given: str) -> Path:
    """The folder of a base model that is named by --base.

    Raises:
        UserError: where nothing usable is there.
    """
    if not given:
        raise UserError("--base is empty; name a folder, package:NAME or Hub id")
    with saying((r"\bmodel\.id: ", "--base: "), NO_STUDY_FILE):
        return resolve_model(given)


def path_from(folder: Path, base: Path) -> str | None:
    """The path of a base model as a saved one in `folder` records it, both absolute.

    None where only the root is common to both, so that it would tell of the machine.
    """
    common = Path(os.path.commonpath([folder, base]))
    return None if common == Path(common.anchor) else Path(os.path.relpath(base, folder)).as_posix()


def base_of_study(saved: SavedModel, spec: StudySpec) -> str | None:
    """The folder of the base model that a study names, for a model of it that does not say where that is.

    None where the model says it, needs none, or the folder is not there.
    """
    if not saved.needs_base or not saved.base.is_local or saved.base.path is not None:
        return None
    folder = expanded(spec.model.id)
    return str(folder) if folder.is_dir() else None


def read_saved(folder: Path) -> SavedModel:
    """What a folder of a saved model says of itself; its other files are not looked at.

    Raises:
        UserError: where it is no saved model.
    """
    path = folder / SAVED_MODEL
    if not path.exists():
        raise UserError(
            f"'{folder}' is no model that tuneoff saved (it has no {SAVED_MODEL}){_pickles(folder)}; "
            "name the folder `model` of a run, or one that `tuneoff export` wrote"
        )
    try:
        return SavedModel.model_validate(_json_object(path))
    except ValidationError as error:
        raise UserError(f"'{path}' is damaged, or of another version of tuneoff") from error


def _json_object(path: Path) -> dict[str, Any]:
    """What a file of settings holds."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{path}' cannot be read ({type(error).__name__})") from error
    if not isinstance(stored, dict):
        raise UserError(f"'{path}' holds no settings; export or train the model again")
    return stored


def _pickles(folder: Path) -> str:
    found = next((path.name for pattern in PICKLES for path in folder.glob(pattern)), None)
    return "" if found is None else f"; {found} is a pickle, which tuneoff never loads"
