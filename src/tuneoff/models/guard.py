"""One guard around what transformers, peft and safetensors do with a model that somebody else has made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tuneoff.core.errors import UserError, one_line
from tuneoff.measure.memory import is_out_of_memory


@contextmanager
def told_in_one_line(what: str) -> Iterator[None]:
    """Inside, whatever a library raises says what is wrong with a model, in one line.

    Memory that runs out says nothing of the model and stays what it is, as does an interruption.

    Args:
        what: what is wrong where something is raised, such as `'FOLDER' has no usable tokenizer`; the library's words
            follow it.

    Raises:
        UserError: for all else that is raised inside.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if is_out_of_memory(error):
            raise
        raise UserError(f"{what} ({_words_of(error)})") from error


def _words_of(error: BaseException) -> str:
    """The kind of an exception belongs to its words where these are a name alone, as a KeyError's."""
    words = one_line(error)
    return words if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {words}"
