"""Doing without bitsandbytes where nothing is quantised, and without what libraries would compile."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "bitsandbytes"
DISABLED = "TORCHDYNAMO_DISABLE"


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


def import_bitsandbytes() -> None:
    """Imports it without PyTorch's compiler, which it loads for functions that are called on no device of ours.

    That takes longer than all the rest of it, and 44 MB.
    """
    if NAME in sys.modules:
        return
    before = os.environ.get(DISABLED)
    os.environ[DISABLED] = "1"  # looked at where something is marked to be compiled, which is at import
    try:
        importlib.import_module(NAME)
    finally:
        if before is None:
            del os.environ[DISABLED]
        else:
            os.environ[DISABLED] = before


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
