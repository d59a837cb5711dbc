"""Whether a folder holds a model that transformers can load by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tuneoff.core.errors import UserError

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
ADAPTER = "adapter_config.json"
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
    weights = sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))
    if not weights:
        raise UserError(f"model.id: '{model_id}' holds no weights (model.safetensors)")
    for path in weights:
        _check_that_it_was_fetched(path)
    return folder


def checked_config(folder: Path, model_id: str) -> Path:
    """A folder, once it is clear that it has a model's configuration; weights need not be there.

    Raises:
        UserError: where it has none, or the model needs code of its own.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise UserError(f"model.id: '{model_id}' is no transformers model folder (it has no config.json)")
    try:
        described = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"model.id: '{config}' is not valid JSON ({error})") from error
    if isinstance(described, dict) and "auto_map" in described:
        _check_that_transformers_has_it(described.get("model_type"), model_id)
    return folder


def _check_that_it_was_fetched(path: Path) -> None:
    with path.open("rb") as file:
        beginning = file.read(len(LFS_POINTER))
    if beginning == LFS_POINTER:
        raise UserError(f"model.id: '{path}' is a pointer of git LFS, without the weights; `git lfs pull` fetches them")
    if not beginning:
        raise UserError(f"model.id: '{path}' is empty; fetch the model anew")


def _check_that_transformers_has_it(model_type: Any, model_id: str) -> None:
    """Refuses a model that only code in its folder could load; where transformers has its own, that code is not run."""
    from transformers import CONFIG_MAPPING

    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise UserError(
            f"model.id: '{model_id}' needs code of its own (auto_map in its config.json), which tuneoff never runs; "
            "choose a model whose architecture transformers has"
        )
