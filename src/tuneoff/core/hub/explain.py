"""What the Hub's libraries raise, said to the user in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tuneoff.core.errors import UserError
from tuneoff.core.files import is_disk_trouble
from tuneoff.core.hub.near import near_id, near_revision
from tuneoff.core.hub.reach import UnansweredError, connection_fault, unreachable
from tuneoff.core.offline import same_offline

LOCAL = (
    'use local files instead (a model folder as model.id, source = "files" under [data]), or try '
    "`tuneoff run quickstart`, which needs no network"
)
NO_ROOM = "Not enough disk space"
"""The words of `datasets` for it."""
CUT_OFF = "Consistency check failed"
"""The words of huggingface_hub for a file that has not come whole."""


def explained(error: BaseException, kind: str, repo_id: str, revision: str | None) -> UserError:
    """The error to raise because of one of huggingface_hub, datasets or httpx.

    Args:
        error: what was raised.
        kind: "model" or "dataset".
        repo_id: of the repository.
        revision: that was asked for.
    """
    message, installed = next(_words(error, kind, repo_id, revision)), _in_its_place(kind, repo_id)
    return UserError(message if message.endswith(installed) else message + installed)


def explained_absence(error: Exception, kind: str, repo_id: str, revision: str | None) -> UserError:
    """The error to raise where the local cache lacks a repository and the Hub cannot be asked."""
    from huggingface_hub.errors import HFValidationError

    if isinstance(error, HFValidationError):
        return UserError(_no_id(kind, repo_id))
    at = f" at the revision '{revision}'" if revision else ""
    return UserError(
        f"the {kind} '{repo_id}' is not in the local cache{at} and the Hugging Face Hub cannot be reached "
        f"({unreachable() or 'no answer'}); {LOCAL}{_in_its_place(kind, repo_id)}"
    )


def _in_its_place(kind: str, repo_id: str) -> str:
    return same_offline(repo_id) if kind == "model" else ""


def _words(error: BaseException, kind: str, repo_id: str, revision: str | None) -> Iterator[str]:
    """What there is to say, the best first."""
    import httpx
    from huggingface_hub import errors
    from huggingface_hub.constants import HF_HUB_CACHE

    what = f"the {kind} '{repo_id}'"
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, UserError):
            yield str(cause)
        if isinstance(cause, errors.HFValidationError):
            yield _no_id(kind, repo_id)
        if isinstance(cause, errors.GatedRepoError):
            yield _gated(what, kind, repo_id, cause.response.status_code)
        if isinstance(cause, errors.DisabledRepoError):
            yield f"{what} has been disabled on the Hugging Face Hub"
        if isinstance(cause, errors.RevisionNotFoundError):
            yield f"{what} has no branch, tag or commit '{revision}'{near_revision(kind, repo_id, revision)}"
        if isinstance(cause, errors.RepositoryNotFoundError):
            yield _unknown(kind, repo_id)
        if isinstance(cause, errors.HfHubHTTPError):
            yield _refused(what, cause.response.status_code)
        if is_disk_trouble(cause) or NO_ROOM in str(cause):
            reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
            yield (
                f"{what} cannot be kept in {HF_HUB_CACHE}: {reason.splitlines()[0]}; make room, or name another folder "
                "with the environment variable HF_HOME"
            )
        if isinstance(cause, UnansweredError | httpx.TimeoutException | httpx.ConnectError | httpx.ProxyError):
            yield (
                f"{what} could not be fetched, the Hugging Face Hub cannot be reached ({_reason(cause)}); the same "
                "command tries again"
            )
        if isinstance(cause, httpx.TransportError) or CUT_OFF in str(cause):
            yield f"the download of {what} was cut off, and nothing of it is used; the same command goes on with it"
    message = str(chain[-1]).strip() or str(error).strip()
    first = message.splitlines()[0] if message else type(error).__name__
    yield f"{what} could not be loaded from the Hugging Face Hub: {first}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _reason(error: BaseException) -> str:
    return connection_fault(error) if isinstance(error, Exception) else type(error).__name__


def _no_id(kind: str, repo_id: str) -> str:
    field = "model.id" if kind == "model" else "data.id"
    return f"{field}: '{repo_id}' is no id of the Hugging Face Hub, which is NAME or OWNER/NAME"


def _page(kind: str, repo_id: str) -> str:
    from huggingface_hub.constants import ENDPOINT

    return f"{ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"


def _gated(what: str, kind: str, repo_id: str, status: int) -> str:
    page = _page(kind, repo_id)
    if status == 401:
        return f"{what} is gated: accept its terms at {page}, and log in with `hf auth login` (or set HF_TOKEN)"
    return f"{what} is gated, and this login has no access to it: accept its terms at {page}, or ask for access there"


def _unknown(kind: str, repo_id: str) -> str:
    from huggingface_hub import get_token

    private = (
        "if it is private, this login has no access to it"
        if get_token()
        else "if it is private, log in with `hf auth login` (or set HF_TOKEN)"
    )
    near = near_id(kind, repo_id)
    suggestion = f"; did you mean '{near}'?" if near else ""
    return f"the Hugging Face Hub knows no {kind} '{repo_id}'{suggestion or ';'} {private}"


def _refused(what: str, status: int) -> str:
    """What a status of HTTP means."""
    if status == 401:
        return (
            f"{what} could not be fetched: the Hugging Face Hub does not accept the access token; log in again with "
            "`hf auth login`, or correct HF_TOKEN"
        )
    if status == 403:
        return (
            f"{what} could not be fetched: the access token has no right to it; log in with another by `hf auth login`"
        )
    if status == 429:
        return (
            f"{what} could not be fetched: the Hugging Face Hub was asked too often; wait a while, or log in with "
            "`hf auth login`, which allows more"
        )
    return f"{what} could not be fetched: the Hugging Face Hub answers with error {status}; try again later"
