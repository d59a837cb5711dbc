"""Keeping transformers quiet while models are loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tuneoff.core.quiet import only_errors_logged


@contextmanager
def transformers_quiet() -> Iterator[None]:
    """Inside, transformers shows no progress bar and logs nothing, and bitsandbytes logs errors alone; then as before.

    What transformers logs as an error it raises as well, and whoever catches that says it in one line.
    """
    from transformers.utils import logging as transformers_logging  # which sets the level when it is imported

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with only_errors_logged("transformers", least=logging.CRITICAL), only_errors_logged("bitsandbytes"):
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
