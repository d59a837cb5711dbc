"""Arguments and options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tuneoff.cli import completion
from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec

Q = TypeVar("Q")


def path_given(text: str) -> Path:
    """A path as given; an empty one would otherwise mean the current folder."""
    if not text:
        raise typer.BadParameter("it is empty; name a path")
    return Path(text)


Folder = Annotated[
    Path,
    typer.Argument(
        help="A study's folder, as `tuneoff run` wrote it.",
        metavar="DIR",
        parser=path_given,
        autocompletion=completion.study_folders,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
Study = Annotated[
    str,
    typer.Argument(
        help="A TOML file, or the name of a shipped study.", metavar="[STUDY]", autocompletion=completion.studies
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a field, such as training.epochs=1 or arms.lora.r=4.",
        autocompletion=completion.settings,
    ),
]


def say_which(study: str, spec: StudySpec) -> None:
    """Says which study it is, since none need be named."""
    from tuneoff.spec import shipped_studies

    print(f"Study {spec.name}, {'which comes with tuneoff' if study in shipped_studies() else f'from {study}'}")


def say_line(message: str) -> None:
    """Tells what goes on."""
    print(message)


def say_nothing(message: str) -> None:
    """Keeps it to itself, where a script reads the output."""


def quantity(option: str, text: str, parse: Callable[[str], Q]) -> Q:
    """What a text says that was given for an option.

    Raises:
        UserError: where it says nothing of the kind.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error
