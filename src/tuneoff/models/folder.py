"""Whether a folder holds a model that transformers can load by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuneoff.core.errors import UserError
from tuneoff.core.hub.models import weight_files
from tuneoff.models.guard import told_in_one_line

TEXTS = (".json", ".txt", ".model", ".jinja")
"""How the names of a configuration's and a tokenizer's files end."""
ADAPTER = "adapter_config.json"
FLOATS = ("F64", "F32", "F16", "BF16")
"""What safetensors calls the types of weights in full precision."""
LFS_POINTER = b"version https://git-lfs"
"""How the text begins that git leaves in place of a large file that was not fetched."""


def checked_folder(folder: Path, model_id: str) -> Path:
    """A model's folder, once it is clear that it has what is needed.

    Args:
        folder: of the model.
        model_id: what messages call it.

    Raises:
        UserError: where configuration or weights are missing, or the model needs code of its own.
    """
    checked_config(folder, model_id)
    if (folder / ADAPTER).is_file():
        raise UserError(
            f"model.id: '{model_id}' holds a model and an adapter ({ADAPTER}), which transformers would put upon it; "
            "copy one of them into a folder of its own"
        )
    names = {path.name for path in folder.iterdir()}
    weights = weight_files(names, lambda name: folder / name)
    if weights is None:
        raise UserError(f"model.id: '{model_id}' holds no weights (model.safetensors)")
    for name in weights:
        if name not in names:
            raise UserError(f"model.id: '{model_id}' lacks {name}, which the index of its weights names")
        _check_that_it_was_fetched(folder / name)
        if not (folder / name).stat().st_size:
            raise UserError(f"model.id: '{folder / name}' is empty; fetch the model anew")
        if name.endswith(".safetensors") and "quantization_config" not in _described(folder / "config.json"):
            _check_that_weights_are_floats(folder / name)
    return folder


def checked_config(folder: Path, model_id: str) -> Path:
    """A folder, once it is clear that it has a model's configuration; weights need not be there.

    Raises:
        UserError: where it has none, the model needs code of its own, or what is called as a model's file is none.
    """
    config = folder / "config.json"
    for path in sorted(path for path in folder.iterdir() if path.name.endswith(TEXTS)):
        _check_that_it_was_fetched(path)
    if not config.is_file():
        raise UserError(f"model.id: '{model_id}' is no transformers model folder (it has no config.json)")
    described = _described(config)
    if "auto_map" in described:
        _check_that_transformers_has_it(described.get("model_type"), model_id)
    return folder


def _described(config: Path) -> dict[str, Any]:
    with told_in_one_line(f"model.id: '{config}' is not valid JSON"):
        described = json.loads(config.read_text(encoding="utf-8"))
    if not isinstance(described, dict):
        raise UserError(f"model.id: '{config}' describes no model: it holds no JSON object")
    return described


def _check_that_weights_are_floats(path: Path) -> None:
    """Refuses weights of a quantised model whose config.json does not say so; they would be taken for numbers."""
    from safetensors import safe_open

    with (
        told_in_one_line(f"model.id: no weights could be loaded from '{path}'"),
        safe_open(path, framework="numpy") as file,
    ):
        types = {name: file.get_slice(name).get_dtype() for name in file.keys() if name.endswith("weight")}  # noqa: SIM118
    for name, kind in types.items():
        if kind not in FLOATS:
            raise UserError(
                f"model.id: '{path}' holds {name} as {kind}, and config.json does not say how that is quantised; "
                "choose the model in full precision"
            )


def _check_that_it_was_fetched(path: Path) -> None:
    if not path.is_file():
        raise UserError(
            f"model.id: '{path}' is no file (a broken link, a folder, a pipe or a device); put the file there, or "
            "remove it"
        )
    with path.open("rb") as file:
        beginning = file.read(len(LFS_POINTER))
    if beginning == LFS_POINTER:
        raise UserError(
            f"model.id: '{path}' is a pointer of git LFS, without what it stands for; `git lfs pull` fetches that"
        )


def _check_that_transformers_has_it(model_type: Any, model_id: str) -> None:
    """Refuses a model that only code in its folder could load; where transformers has its own, that code is not run."""
    from transformers import CONFIG_MAPPING

    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise UserError(
            f"model.id: '{model_id}' needs code of its own (auto_map in its config.json), which tuneoff never runs; "
            "choose a model whose architecture transformers has"
        )
