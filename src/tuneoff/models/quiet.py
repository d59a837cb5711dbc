"""Keeping transformers quiet while models are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tuneoff.core.quiet import only_errors_logged


@contextmanager
def transformers_quiet() -> Iterator[None]:
    """Inside, transformers shows no progress bar, and it and bitsandbytes log errors alone; afterwards as before."""
    from transformers.utils import logging  # its import sets the level that is to be changed here

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with only_errors_logged("transformers"), only_errors_logged("bitsandbytes"):
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
