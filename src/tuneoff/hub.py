"""The Hugging Face Hub: reached when it answers, read from the local cache when it does not."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tuneoff.errors import UserError

ANSWER_WITHIN_SECONDS = 3.0


@cache
def reachable() -> bool:
    """Whether the Hub answers within three seconds; asked once a process, never when offline mode is set."""
    if any(
        os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    ):
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=ANSWER_WITHIN_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def fetch_model(model_id: str, revision: str | None) -> Path:
    """The local folder of a Hub model's configuration, tokenizer and safetensors weights.

    Raises:
        UserError: where the Hub does not know the model, or cannot be reached and the cache lacks it.
    """

    def download() -> str:
        from huggingface_hub import snapshot_download

        patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
        return snapshot_download(model_id, revision=revision, allow_patterns=patterns, local_files_only=not reachable())

    return Path(_from_hub(f"model '{model_id}'", download))


def fetch_dataset(dataset_id: str, config: str | None, revision: str | None) -> Any:
    """All splits of a Hub dataset as a `datasets.DatasetDict`.

    Raises:
        UserError: where the Hub does not know the dataset, or cannot be reached and the cache lacks it.
    """

    def download() -> Any:
        if not reachable():  # datasets and huggingface_hub read these when they are imported
            os.environ["HF_DATASETS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            from datasets import DownloadConfig, load_dataset
        except ModuleNotFoundError as error:
            raise UserError("datasets from the Hub need an extra: pip install 'tuneoff[hub]'") from error

        return load_dataset(
            dataset_id,
            config,
            revision=revision,
            download_config=DownloadConfig(local_files_only=not reachable(), disable_tqdm=True),
        )

    return _from_hub(f"dataset '{dataset_id}'", download)


def _from_hub(what: str, download: Callable[[], Any]) -> Any:
    try:
        return download()
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # what huggingface_hub and datasets raise, HTTP errors included
        if not reachable():
            raise UserError(
                f"the {what} is not in the local cache and the Hugging Face Hub cannot be reached; use local files "
                'instead (a model folder as model.id, source = "files" under [data]), or try `tuneoff run quickstart`, '
                "which needs no network"
            ) from error
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"the {what} could not be loaded from the Hugging Face Hub: {first_line}") from error
