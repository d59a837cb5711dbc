"""Repositories of the Hub: which commit a branch or tag names, and which files it has."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from glob import escape
from pathlib import Path
from typing import Literal

from tuneoff.core.errors import UserError
from tuneoff.core.hub.explain import explained, explained_absence
from tuneoff.core.hub.reach import UnansweredError, connection_fault, session, unreachable
from tuneoff.core.hub.telling import counting, size, tell
from tuneoff.core.quiet import only_errors_logged

Kind = Literal["model", "dataset"]
COMMIT = re.compile(r"[0-9a-f]{40}")
DESCRIPTION = {"model": "config.json", "dataset": "README.md"}
"""The small file with which a repository is opened."""


@dataclass(frozen=True)
class Repository:
    """A repository at one commit; `sizes` in bytes, by name of the file."""

    kind: Kind
    id: str
    commit: str
    sizes: dict[str, int]

    @property
    def what(self) -> str:
        """What messages call it."""
        return f"the {self.kind} '{self.id}'"


def is_commit(revision: str | None) -> bool:
    """Whether a revision names a commit in full, so that it can never mean anything else."""
    return revision is not None and COMMIT.fullmatch(revision) is not None


def commit_of(kind: Kind, repo_id: str, revision: str | None) -> str:
    """The commit that a branch, tag or commit of a repository is now, or was when it was last to be used.

    It is noted in the local cache, for times when the Hub is out of reach.

    Raises:
        UserError: where the Hub does not know it, or cannot be reached and the cache does not know it.
    """
    if revision is not None and is_commit(revision):
        return revision
    repository = look_up(kind, repo_id, revision)
    if repository is None:
        commit = cached_snapshot(kind, repo_id, revision).name
        if unreachable() is not None:
            tell(_from_cache(f"cannot be reached ({unreachable()})", kind, repo_id))
        return commit
    return snapshot(repository, revision, [DESCRIPTION[kind]]).name


@cache
def look_up(kind: Kind, repo_id: str, revision: str | None) -> Repository | None:
    """Asks the Hub for a repository; None where it cannot be reached. Asked once a process.

    Raises:
        UserError: where the Hub does not know it, or does not give access to it.
    """
    if unreachable() is not None:
        return None
    with quiet():
        import httpx
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        try:
            session()
            info = HfApi().repo_info(repo_id, repo_type=kind, revision=revision, files_metadata=True)
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status < 500 or not _is_cached(kind, repo_id, revision):
                raise explained(error, kind, repo_id, revision) from error
            tell(_from_cache(f"answers with error {status}", kind, repo_id))
            return None
        except (httpx.TransportError, UnansweredError) as error:
            if not _is_cached(kind, repo_id, revision):
                raise explained(error, kind, repo_id, revision) from error
            tell(_from_cache(f"cannot be reached ({connection_fault(error)})", kind, repo_id))
            return None
        except (OSError, ValueError, RuntimeError) as error:
            raise explained(error, kind, repo_id, revision) from error
    sizes = {file.rfilename: file.size or 0 for file in getattr(info, "siblings", None) or []}
    return Repository(kind, repo_id, info.sha or "", sizes)


def cached_snapshot(kind: Kind, repo_id: str, revision: str | None) -> Path:
    """The folder in the local cache that holds what was fetched of a revision; its name is the commit.

    Raises:
        UserError: where the cache has nothing of it.
    """
    with quiet():
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                repo_id,
                repo_type=kind,
                revision=revision,
                local_files_only=True,
                allow_patterns=[DESCRIPTION[kind]],
            )
        except (OSError, ValueError) as error:
            raise explained_absence(error, kind, repo_id, revision) from error
    return Path(folder)


def _from_cache(trouble: str, kind: str, repo_id: str) -> str:
    return f"The Hub {trouble}; the {kind} {repo_id} is read from the local cache"


def _is_cached(kind: Kind, repo_id: str, revision: str | None) -> bool:
    try:
        cached_snapshot(kind, repo_id, revision)
    except UserError:
        return False
    return True


def fetch(repository: Repository, files: Sequence[str]) -> Path:
    """Fetches files of a repository into the local cache, where they are whole or absent; says what it fetches.

    Raises:
        UserError: where that fails; what has been fetched whole stays.
    """
    kind, repo_id, commit = repository.kind, repository.id, repository.commit
    with quiet():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.constants import HF_HUB_CACHE

        absent = [
            name
            for name in files
            if not isinstance(try_to_load_from_cache(repo_id, name, revision=commit, repo_type=kind), str)
        ]
        total = sum(repository.sizes.get(name, 0) for name in absent)
        what = f"Fetching the {kind} {repo_id} from the Hub"
        if absent:
            tell(f"{what}: {size(total)}" if total else what)
        store = Path(HF_HUB_CACHE) / f"{kind}s--{repo_id.replace('/', '--')}"
        with counting(what, store / "blobs", total):
            return snapshot(repository, commit, files)


def snapshot(repository: Repository, revision: str | None, files: Sequence[str]) -> Path:
    """The folder of a repository's commit in the local cache, with files that are fetched where they are absent.

    Raises:
        UserError: where that fails; what has been fetched whole stays.
    """
    kind, repo_id = repository.kind, repository.id
    with quiet():
        import httpx
        from huggingface_hub import snapshot_download

        patterns = [escape(name) for name in files]
        try:
            session()
            return Path(snapshot_download(repo_id, repo_type=kind, revision=revision, allow_patterns=patterns))
        except (OSError, ValueError, RuntimeError, httpx.HTTPError, UnansweredError) as error:
            raise explained(error, kind, repo_id, revision) from error


@contextmanager
def quiet() -> Iterator[None]:
    """The Hub's libraries print nothing inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

        shown = not are_progress_bars_disabled()
        disable_progress_bars()
        try:
            with only_errors_logged("huggingface_hub", "httpx", "datasets"):
                yield
        finally:
            if shown:
                enable_progress_bars()
