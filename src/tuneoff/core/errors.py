"""The one exception that speaks to the user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

LONGEST_MESSAGE = 300


class UserError(ValueError):
    """A request that cannot be carried out: what is wrong, where, and what to do, in one line.

    The command line prints it without a traceback and exits with code 2.
    """


@contextmanager
def saying(*words: tuple[str, str]) -> Iterator[None]:
    """Inside, errors for users who have no study file say something else where they name its settings.

    Args:
        words: regular expressions, each with what is said in place of what it matches.
    """
    try:
        yield
    except UserError as error:
        message = str(error)
        for pattern, instead in words:
            message = re.sub(pattern, instead, message)
        raise UserError(message) from error


def damaged(path: Path, error: Exception) -> UserError:
    """The error to raise where a file of a study cannot be read, because of `error`."""
    return UserError(f"{path} is missing or damaged ({error.__class__.__name__}); run the study again")


def one_line(error: BaseException) -> str:
    """What an exception says, in one line of bearable length."""
    return shorten(str(error), LONGEST_MESSAGE, placeholder=" ...") or error.__class__.__name__
