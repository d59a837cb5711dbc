"""Arguments and options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuneoff.cli import completion


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
