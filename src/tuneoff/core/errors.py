"""The one exception that speaks to the user."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

LONGEST_MESSAGE = 300


class UserError(ValueError):
    """A request that cannot be carried out: what is wrong, where, and what to do, in one line.

    The command line prints it without a traceback and exits with code 2.
    """


def damaged(path: Path, error: Exception) -> UserError:
    """The error to raise where a file of a study cannot be read, because of `error`."""
    return UserError(f"{path} is missing or damaged ({error.__class__.__name__}); run the study again")


def one_line(error: Exception) -> str:
    """What an exception says, in one line of bearable length."""
    return shorten(str(error), LONGEST_MESSAGE, placeholder=" ...") or error.__class__.__name__
