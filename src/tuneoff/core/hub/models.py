"""Models of the Hub: configuration, tokenizer, and the weights that transformers would load, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

from tuneoff.core.errors import UserError
from tuneoff.core.hub.explain import LOCAL
from tuneoff.core.hub.reach import unreachable
from tuneoff.core.hub.repositories import cached_snapshot, fetch, is_commit, look_up, snapshot

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""In the order in which transformers looks for them; each may be in shards, which an index names."""
TEXTS = (".json", ".txt", ".model")
"""Of configuration and tokenizer."""
TOKENIZER = "tokenizer.json"
OTHER_WEIGHTS = (".h5", ".msgpack", ".gguf", ".onnx", ".ot", ".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def fetch_model(model_id: str, revision: str | None) -> Path:
    """The local folder of a Hub model's configuration, tokenizer and weights; its name is the commit.

    Weights are safetensors where the model has them, otherwise `pytorch_model.bin`.

    Raises:
        UserError: where the Hub does not know the model or gives no access to it, it holds no weights that can be
            loaded, or the Hub cannot be reached and the cache lacks it.
    """
    if is_commit(revision) and (folder := _whole_in_cache(model_id, revision)) is not None:
        return folder
    repository = look_up("model", model_id, revision)
    if repository is None:
        return _from_cache(model_id, revision)
    names = {name for name in repository.sizes if "/" not in name}
    if "config.json" not in names:
        raise UserError(_no_config(model_id, names))
    texts = [name for name in sorted(names) if name.endswith(TEXTS)]

    def read(index: str) -> Path:
        return snapshot(repository, repository.commit, [index]) / index

    weights = weight_files(names, read)
    if weights is None:
        others = [name for name in sorted(names) if name.endswith(OTHER_WEIGHTS)]
        raise UserError(
            f"model.id: '{model_id}' holds no weights that PyTorch can load (model.safetensors or pytorch_model.bin)"
            + (f"; it has {', '.join(others[:5])}" if others else "")
        )
    lost = [name for name in weights if name not in names]
    if lost:
        raise UserError(f"model.id: '{model_id}' lacks {lost[0]}, which the index of its weights names")
    return fetch(repository, [*texts, *weights])


def fetch_config(model_id: str, revision: str | None = None) -> Path:
    """The local folder of a Hub model's configuration alone.

    Raises:
        UserError: where the Hub does not know the model or gives no access to it, it has none, or the Hub cannot be
            reached and the cache lacks it.
    """
    repository = look_up("model", model_id, revision)
    if repository is None:
        return cached_snapshot("model", model_id, revision)
    if "config.json" not in repository.sizes:
        raise UserError(_no_config(model_id, repository.sizes))
    return snapshot(repository, repository.commit, ["config.json"])


def weight_files(names: Collection[str], read: Callable[[str], Path]) -> list[str] | None:
    """The files that hold a model's weights, by the names of all its files; None where there are none.

    Args:
        names: of files at the top of the model.
        read: the local path of one of these.

    Raises:
        UserError: where the index of shards cannot be read.
    """
    for whole in WEIGHTS:
        if whole in names:
            return [whole]
        index = f"{whole}.index.json"
        if index in names:
            path = read(index)
            try:
                shards = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise UserError(f"model.id: '{path}' is no index of weights ({type(error).__name__})") from error
            if not shards or not all(isinstance(name, str) for name in shards):
                raise UserError(f"model.id: '{path}' is no index of weights: its weight_map names no files")
            return sorted(shards)
    return None


def _no_config(model_id: str, names: Collection[str]) -> str:
    if "adapter_config.json" in names:
        return f"model.id: '{model_id}' is an adapter, without a model of its own; name the model that it was made for"
    return f"model.id: '{model_id}' is no transformers model (it has no config.json)"


def _from_cache(model_id: str, revision: str | None) -> Path:
    folder = cached_snapshot("model", model_id, revision)
    if missing(folder):
        raise UserError(
            f"the model '{model_id}' is in the local cache in part alone ({missing(folder)} is missing), and the "
            f"Hugging Face Hub cannot be reached ({unreachable() or 'no answer'}); {LOCAL}"
        )
    return folder


def _whole_in_cache(model_id: str, revision: str | None) -> Path | None:
    """The folder in the cache that surely has all that is wanted, so that the Hub need not be asked.

    Others that fetch weights alone leave a model without its tokenizer there, which only the Hub can tell from a model
    that has none in this form.
    """
    try:
        folder = cached_snapshot("model", model_id, revision)
    except UserError:
        return None
    return None if missing(folder) or not (folder / TOKENIZER).is_file() else folder


def missing(folder: Path) -> str | None:
    """A file that a model folder lacks, so that it was not fetched to its end; None where it is whole."""
    names = {path.name for path in folder.iterdir() if path.is_file()}
    weights = weight_files(names, lambda index: folder / index)
    if "config.json" not in names:
        return "config.json"
    return WEIGHTS[0] if weights is None else next((name for name in weights if name not in names), None)
