"""Keeping libraries from printing, without changing how they print for whoever uses them beside tuneoff."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_errors_logged(*libraries: str) -> Iterator[None]:
    """Inside, libraries log errors alone; afterwards what they logged before."""
    loggers = [logging.getLogger(library) for library in libraries]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
