"""Doing without bitsandbytes where nothing is quantised, and without compiling code of peft's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "bitsandbytes"


@contextmanager
def bitsandbytes_hidden() -> Iterator[None]:
    """Inside, bitsandbytes seems not to be installed, so that peft does not import it.

    On a machine with a GPU its import initialises CUDA, which the fork server must not do, and takes time that runs
    which quantise nothing need not spend.
    """
    was_there = NAME in sys.modules
    before = sys.modules.get(NAME)
    sys.modules[NAME] = None  # type: ignore[assignment]  # Python's own way to say that there is no such module
    _ask_again()
    try:
        yield
    finally:
        if was_there:
            assert before is not None
            sys.modules[NAME] = before
        else:
            del sys.modules[NAME]
        _ask_again()


def compile_nothing() -> None:
    """Makes peft's BOFT compute with PyTorch's operations.

    Otherwise it tries to compile CUDA code of its own at the first layer, says so in the terminal, and where that fails
    leaves the process with another `CC` and `CXX`.
    """
    from peft.tuners.boft import layer

    layer._FBD_CUDA = False  # as if it had been tried


def _ask_again() -> None:
    """Makes peft forget whether bitsandbytes is installed; it asks once a process."""
    asked = sys.modules.get("peft.import_utils")
    if asked is not None:
        asked.is_bnb_available.cache_clear()
        asked.is_bnb_4bit_available.cache_clear()
