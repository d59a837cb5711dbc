"""Pushing an exported model to the Hugging Face Hub, with the user's own login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError, one_line
from tuneoff.core.hub import unreachable
from tuneoff.core.hub.reach import UnansweredError, connection_fault, session
from tuneoff.core.hub.repositories import quiet
from tuneoff.core.hub.telling import size
from tuneoff.core.texts import counted
from tuneoff.records.saved_model import SAVED_MODEL, SavedModel

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

CARD = "README.md"
USERS_OWN = ("license", "license_name", "license_link", "language")
"""What a model card leaves to the user, and what stays where the user has said it on the Hub."""

Say = Callable[[str], None]


def push_to_hub(folder: Path, repo_id: str, say: Say, public: bool = False) -> str:
    """Pushes a folder in one commit, into a repository that is made where there is none.

    A new repository is private unless asked otherwise, since what is once public cannot be taken back; one that is
    there stays as it is. Files that an earlier push of a model left there and that are none of this one's go, so that
    nothing loads a mixture of both; others stay. So do licence and languages that the user has added to the card there.

    Args:
        folder: of the exported model.
        repo_id: `OWNER/NAME`, or `NAME` under the user's own.
        say: told in one line what is pushed, where, and who can see it.
        public: whether a new repository is one that everybody can read.

    Returns:
        The address of the repository.

    Raises:
        UserError: where there is no login, the Hub cannot be reached, or it refuses; nothing is committed then.
    """
    check_push(repo_id)
    with _said_of(repo_id):
        return _push(_api(), folder, repo_id, say, public)


def check_push(repo_id: str) -> None:
    """Finds out what can be known before there is anything to push: the name, the login, whether the Hub answers.

    Raises:
        UserError: where it could not be pushed.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # it is, without saying so

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(
            f"'{repo_id}' is no name for a repository of the Hugging Face Hub, which is OWNER/NAME of letters, digits, "
            "'-', '_' and '.'"
        ) from error
    if get_token() is None:
        raise UserError(
            f"'{repo_id}' cannot be pushed without a login to the Hugging Face Hub: log in with `hf auth login`, or "
            "set HF_TOKEN"
        )
    reason = unreachable()
    if reason is not None:
        raise UserError(f"'{repo_id}' cannot be pushed, the Hugging Face Hub cannot be reached ({reason})")
    with _said_of(repo_id):
        _api().whoami()


def _api() -> HfApi:
    from huggingface_hub import HfApi, get_token

    session()
    return HfApi(token=get_token())


@contextmanager
def _said_of(repo_id: str) -> Iterator[None]:
    """The Hub's libraries print nothing inside, and what they raise is said in one line."""
    with quiet():
        import httpx

        try:
            yield
        except UserError:
            raise
        except (OSError, ValueError, RuntimeError, httpx.HTTPError, UnansweredError) as error:
            raise UserError(next(_words(error, repo_id))) from error


def _push(api: HfApi, folder: Path, repo_id: str, say: Say, public: bool) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    made = api.create_repo(repo_id, private=not public, exist_ok=True)
    repo_id = made.repo_id
    there = api.model_info(repo_id)
    names = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    stale = [name for name in _of_an_earlier_push(api, there) if name not in names]
    seen = "private, as only you and those whom you let in can see it" if there.private else "public"
    total = sum(path.stat().st_size for path in names.values())
    say(f"Pushing {counted(len(names), 'file')}, {size(total)}, to {repo_id} on the Hub ({seen})")
    content = {name: str(path) for name, path in names.items()}
    card = _card_with_users_own(api, there, names)
    operations: list[Any] = [CommitOperationDelete(name) for name in stale]
    operations += [
        CommitOperationAdd(name, card if name == CARD and card is not None else path) for name, path in content.items()
    ]
    api.create_commit(repo_id, operations, commit_message="Model exported by Tuneoff")
    return str(made)


def _files(info: ModelInfo) -> set[str]:
    return {file.rfilename for file in info.siblings or ()}


def _of_an_earlier_push(api: HfApi, there: ModelInfo) -> list[str]:
    """The files that a repository holds of a model that was pushed before, as that says itself."""
    files = _files(there)
    if SAVED_MODEL not in files:
        return []
    path = Path(api.hf_hub_download(there.id, SAVED_MODEL, revision=there.sha))
    try:
        earlier = SavedModel.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError:
        return []
    return sorted({SAVED_MODEL, *earlier.sha256} & files)


def _card_with_users_own(api: HfApi, there: ModelInfo, names: dict[str, Path]) -> bytes | None:
    """The model card with what the user has said of licence and language in the one on the Hub; None where nothing."""
    from huggingface_hub import ModelCard

    if CARD not in names or CARD not in _files(there):
        return None
    card = ModelCard.load(names[CARD])
    theirs = ModelCard.load(api.hf_hub_download(there.id, CARD, revision=there.sha), ignore_metadata_errors=True)
    said = {name: getattr(theirs.data, name, None) for name in USERS_OWN}
    added = {name: value for name, value in said.items() if value and not getattr(card.data, name, None)}
    for name, value in added.items():
        setattr(card.data, name, value)
    return str(card).encode() if added else None


def _words(error: BaseException, repo_id: str) -> Iterator[str]:
    """What there is to say of a push that failed, the best first."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    what = f"'{repo_id}' could not be pushed"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HfHubHTTPError):
            said = " ".join((cause.server_message or "").split())
            yield f"{what}: {_refused(cause.response.status_code, repo_id)}" + (f" (it says: {said})" if said else "")
        if isinstance(cause, UnansweredError | httpx.TransportError):
            assert isinstance(cause, Exception)
            yield f"{what}, the Hugging Face Hub cannot be reached ({connection_fault(cause)}); nothing was committed"
        cause = cause.__cause__ or cause.__context__
    yield f"{what}: {one_line(error) if isinstance(error, Exception) else type(error).__name__}"


def _refused(status: int, repo_id: str) -> str:
    """What a status of HTTP means."""
    owner = repo_id.split("/")[0] if "/" in repo_id else "your account"
    if status == 401:
        return (
            "the Hugging Face Hub does not accept the access token; log in again with `hf auth login`, or correct "
            "HF_TOKEN"
        )
    if status == 403:
        return (
            f"this login may not write there; its token needs the right to write, and '{owner}' must be you or an "
            "organisation of yours"
        )
    if status == 404:
        return f"the Hugging Face Hub knows no user or organisation '{owner}' that this login may write to"
    if status in (409, 412):
        return "somebody else changed the repository at the same time; push again"
    if status == 429:
        return "the Hugging Face Hub was asked too often; wait a while and push again"
    return f"the Hugging Face Hub answers with error {status}" + ("; try again later" if status >= 500 else "")
