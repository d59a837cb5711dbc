"""What the fork server imports, so that a run's process starts in a fraction of a second.

None of it may touch a device: a process that has initialised CUDA cannot be forked.
"""

from __future__ import annotations

import importlib
import signal
import sys

import torch

from tuneoff.study.interruption import SIGNALS

MODULES = (
    "scipy.special",
    "sklearn.metrics",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.roberta.modeling_roberta",
    "peft",
    "tuneoff.study.worker",
)


def outlive_signals() -> None:
    """Leaves it to the driver what Ctrl-C and SIGTERM mean, also for the processes that are forked from this one."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # the driver started this process with them held


def preload() -> None:
    """Imports the modules; bitsandbytes, which initialises CUDA when imported, is left to the runs that use it."""
    hide = torch.backends.cuda.is_built() and "bitsandbytes" not in sys.modules
    if hide:
        sys.modules["bitsandbytes"] = None  # type: ignore[assignment]  # peft.helpers then does without it
    try:
        for name in MODULES:
            importlib.import_module(name)
    finally:
        if hide:
            del sys.modules["bitsandbytes"]
    assert not torch.cuda.is_initialized()


outlive_signals()
preload()
