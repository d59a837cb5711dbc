"""Keeping libraries from printing, without changing how they print for whoever uses them beside tuneoff."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_errors_logged(*libraries: str, least: int = logging.ERROR) -> Iterator[None]:
    """Inside, libraries log errors alone, or from the level `least` on; afterwards what they logged before."""
    loggers = [logging.getLogger(library) for library in libraries]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(least)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def silence_libraries() -> None:
    """In a process that is tuneoff's own, as the command line's is: what libraries warn of, and nobody hears, is lost.

    Some warn when they are imported, which may be anywhere. `python -W` has warnings shown.
    """
    if logging.lastResort is not None:  # which prints what no handler takes
        logging.lastResort.setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
