"""What the fork server imports, so that a run's process starts in a fraction of a second.

None of it may touch a device: a process that has initialised CUDA cannot be forked.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from contextlib import nullcontext
from importlib.util import find_spec

import torch

from tuneoff.core.processes import leave_signals_to_the_driver
from tuneoff.measure.environment import processor, versions
from tuneoff.models.architecture import ARCHITECTURES
from tuneoff.models.hide import bitsandbytes_hidden, import_bitsandbytes
from tuneoff.spec.arms import METHODS
from tuneoff.spec.data import TASKS
from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.spec.quantization import QUANTIZATIONS

MODULES = (
    "scipy.special",
    "sklearn.linear_model",
    "sklearn.metrics",
    "torch.utils.serialization.config",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.roberta.modeling_roberta",
    "peft",
    "peft.utils.transformers_weight_conversion",
    "transformers.models.bert.tokenization_bert",
    "tuneoff.models.layers",
    "tuneoff.models.mean_pooled",
    "tuneoff.models.virtual_embedding",
    "tuneoff.spec",
    "tuneoff.runs.process",
    "tuneoff.runs.worker",
    "tuneoff.training.fit",
)


def preload() -> None:
    """Imports the modules and fills the caches; bitsandbytes, which initialises CUDA, is left to runs that use it."""
    on_cpu = not torch.backends.cuda.is_built()
    if on_cpu:
        import_bitsandbytes()
    with nullcontext() if on_cpu else bitsandbytes_hidden():
        for name in MODULES:
            importlib.import_module(name)
    if not on_cpu and find_spec("triton") is not None:
        _prepare_kernels()
    _silence()
    _fill_caches()
    assert not torch.cuda.is_initialized()


def _prepare_kernels() -> None:
    """Imports our kernels, and what Triton would have each process do: its hash of itself, 0.4 s, and an import."""
    from triton.runtime import cache

    from tuneoff.training import kernels

    for module in pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}."):
        importlib.import_module(module.name)
    importlib.import_module("tuneoff.training.optim.adamw_cuda")
    if find_spec("triton.experimental.gluon") is not None:
        importlib.import_module("triton.experimental.gluon")
    if hasattr(cache, "triton_key"):  # which remembers what it returns
        cache.triton_key()


def _silence() -> None:
    """What runs' processes print goes to their logs: errors alone, and no progress bar, which would leave a lock."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _fill_caches() -> None:
    """Finds out what is the same for every run and would take each of them a while."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("bert")  # compiles the patterns of all architectures
    for registry in (METHODS, ARCHITECTURES, TASKS, OBJECTIVES, QUANTIZATIONS):
        registry.classes()
    versions()
    processor()


# On a CPU it warns at import that an inference kernel is missing, which training does not use.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
leave_signals_to_the_driver()
preload()
