"""How the command line ends: an exit code, and one line where something went wrong."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from tuneoff.core.errors import UserError

INTERRUPTED = 130


class _GoesOnError(Exception):
    """What was interrupted goes on where it was when the command is given again."""


@contextmanager
def going_on() -> Iterator[None]:
    """Around what the same command goes on with after an interruption, so that the user is told so."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise _GoesOnError from error


def exit_code(command: Callable[..., Any]) -> int:
    """Carries out the command line and prints what went wrong as one line.

    Returns:
        2 where the request cannot be carried out, 130 where it was interrupted, else what the command says.
    """
    try:
        _have_a_home()
        code = command(standalone_mode=False)
        if code == INTERRUPTED:  # so typer says that KeyboardInterrupt was raised
            raise KeyboardInterrupt
    except UserError as error:
        return _say(str(error), 2)
    except OSError as error:
        return _say(f"{error.filename or 'a file'}: {error.strerror or error}", 2)
    except _GoesOnError:
        return _say("interrupted; the same command goes on from here", INTERRUPTED)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", INTERRUPTED)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # a usage error of typer's
            return _say(f"{error.format_message()} (see {_command_of(error)} --help)", 2)
        if _is_out_of_memory(error):
            return _say("main memory is exhausted; free some, or choose a smaller model or less data", 2)
        raise
    return code if isinstance(code, int) else 0


def _say(message: str, code: int) -> int:
    """Prints an error as one line, in which nothing that a user or a file wrote acts on the terminal."""
    line = " ".join(message.split())
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
    print(f"tuneoff: {shown}", file=sys.stderr)
    return code


def _is_out_of_memory(error: Exception) -> bool:
    from tuneoff.measure.memory import is_out_of_memory

    return is_out_of_memory(error)


def _command_of(error: Any) -> str:
    """The command that a usage error of typer's is about."""
    context = getattr(error, "ctx", None)
    return f"tuneoff {context.info_name}" if context is not None and context.parent is not None else "tuneoff"


def _have_a_home() -> None:
    """Gives a user without a home folder, as containers have, one for what libraries keep in it, until the end."""
    try:
        Path.home()
    except RuntimeError:
        home = tempfile.mkdtemp(prefix="tuneoff-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        os.environ["HOME"] = home
