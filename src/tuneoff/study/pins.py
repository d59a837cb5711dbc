"""The commits of the Hub's repositories that a study uses: settled once, kept in its folder, noticed when they move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tuneoff.core import hub
from tuneoff.core.errors import UserError
from tuneoff.core.files import read_json, write_json
from tuneoff.core.frozen import Frozen
from tuneoff.data.sources.hub import HubData
from tuneoff.models.load import is_hub_id

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec

COMMITS = "hub.json"
SHORT = 12
"""Characters of a commit that a line shows."""


class Pin(Frozen):
    """What `hub.json` says of a repository: the revision that the study asks for, and the commit that it was."""

    id: str
    revision: str | None
    commit: str


@dataclass(frozen=True)
class Pinned:
    """A study whose Hub repositories are named by commits.

    Attributes:
        spec: with commits for revisions.
        pins: by table of the study file, "model" and "data"; those that are not on the Hub are absent.
    """

    spec: StudySpec
    pins: dict[str, Pin]

    def save(self, folder: Path) -> None:
        """Writes `hub.json` into a study's folder, where the study uses the Hub."""
        if self.pins:
            write_json(folder / COMMITS, {table: pin.model_dump() for table, pin in self.pins.items()})


def pin_to_commits(spec: StudySpec, folder: Path | None, say: Callable[[str], None]) -> Pinned:
    """Finds out which commits a study's model and dataset are, so that all of it uses the same ones.

    A study that was begun goes on with the commits that it began with, whatever its branches are by now.

    Args:
        spec: the study.
        folder: of the study, or None where there is none.
        say: told in one line where a repository is not pinned, and where it has moved since the study began.

    Raises:
        UserError: where the Hub does not know a repository, or cannot be reached and the cache does not know it.
    """
    earlier = _stored(folder) if folder is not None else {}
    pins: dict[str, Pin] = {}
    if is_hub_id(spec.model.id):
        pins["model"] = _pin("model", "model", spec.model.id, spec.model.revision, earlier, say)
        spec = spec.model_copy(update={"model": spec.model.model_copy(update={"revision": pins["model"].commit})})
    if isinstance(spec.data, HubData):
        pins["data"] = _pin("data", "dataset", spec.data.id, spec.data.revision, earlier, say)
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"revision": pins["data"].commit})})
    return Pinned(spec, pins)


def _pin(
    table: str, kind: hub.Kind, repo_id: str, revision: str | None, earlier: dict[str, Pin], say: Callable[[str], None]
) -> Pin:
    before = earlier.get(table)
    if before is not None and before.id == repo_id and revision in (before.revision, before.commit):
        newest = None if hub.is_commit(revision) else hub.look_up(kind, repo_id, revision)
        if newest is not None and newest.commit != before.commit:
            say(
                f"The {kind} {repo_id} has changed since this study began: {revision or 'main'} is now commit "
                f"{newest.commit[:SHORT]}; the study goes on with {before.commit[:SHORT]} "
                f"(set {table}.revision = '{newest.commit}' for the new one)"
            )
        return before
    commit = hub.commit_of(kind, repo_id, revision)
    if not hub.is_commit(revision):
        say(
            f"The {kind} {repo_id} is not pinned: {revision or 'main'} is commit {commit[:SHORT]}, which is used "
            f"({table}.revision = '{commit}' keeps it for other studies)"
        )
    return Pin(id=repo_id, revision=revision, commit=commit)


def _stored(folder: Path) -> dict[str, Pin]:
    """What an earlier run of the study has settled.

    Raises:
        UserError: where the file is damaged: a study must not change its commits unnoticed.
    """
    try:
        stored: Any = read_json(folder / COMMITS)
        return {table: Pin.model_validate(pin) for table, pin in dict(stored).items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, TypeError, ValidationError) as error:
        raise UserError(
            f"{folder / COMMITS} is damaged ({type(error).__name__}); remove it, and the study settles its commits anew"
        ) from error
