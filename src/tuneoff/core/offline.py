"""The pretrained model that comes as a Python package, so that it needs no network."""

from __future__ import annotations

from importlib.util import find_spec

NAME = "all-minilm-l6-v2"
"""Of the model on the Hub, in small letters."""
PACKAGE = f"gt-{NAME}"


def offline_model() -> str | None:
    """Its id in a study file; None where the package is not installed."""
    return f"package:{PACKAGE}" if find_spec(PACKAGE.replace("-", "_")) is not None else None


def same_offline(repo_id: str) -> str:
    """The end of a message about a model that cannot be fetched: what is installed in its place, or nothing."""
    installed = offline_model() if repo_id.split("/")[-1].lower() == NAME else None
    return f"; the model of that name that is installed is '{installed}'" if installed else ""
