"""The Hugging Face Hub: asked where it answers, read from the local cache where it does not.

No code from a repository is fetched with a model or executed, and the libraries' own progress bars, warnings and
tracebacks never reach a user: what is fetched is said in lines of Tuneoff's own, to whom `telling` names.
"""

from __future__ import annotations

from tuneoff.core.hub.datasets import fetch_dataset
from tuneoff.core.hub.models import fetch_config, fetch_model
from tuneoff.core.hub.reach import check_environment, unreachable
from tuneoff.core.hub.repositories import Kind, commit_of, is_commit, look_up
from tuneoff.core.hub.telling import telling

__all__ = [
    "Kind",
    "check_environment",
    "commit_of",
    "fetch_config",
    "fetch_dataset",
    "fetch_model",
    "is_commit",
    "look_up",
    "telling",
    "unreachable",
]
