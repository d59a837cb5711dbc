"""Standard output that nobody may read any more: a study must not end because `head` has."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


def outlast_readers() -> None:
    """From now on what is printed is lost where nobody reads it, and no error: `tuneoff run | head -1` runs to its end.

    Also where standard output was closed from the beginning, or is a file on a full disk, which is said once.
    """
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  (open to the end)
        setattr(sys, name, _Outlasting(stream, descriptor))


def output_was_lost() -> bool:
    """Whether somebody misses what was printed: standard output could not be written, and not for want of a reader."""
    return getattr(sys.stdout, "lost", False)


def nobody_reads() -> bool:
    """Whether what is printed goes nowhere by now, so that a command that only prints may end."""
    return getattr(sys.stdout, "gone", False)


class _Outlasting:
    """A text stream whose reader may leave."""

    def __init__(self, stream: TextIO, descriptor: int) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self.lost = False
        self.gone = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._let_go(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> None:
        """What is written from now on goes nowhere, what is buffered included. A reader that left misses nothing."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._descriptor)
        os.close(nowhere)
        self.gone = True
        if not isinstance(error, BrokenPipeError) and self._descriptor == 1:
            self.lost = True
            print(f"tuneoff: standard output: {error.strerror}; what follows is not shown", file=sys.stderr)
