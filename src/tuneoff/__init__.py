"""Tuneoff: which fine-tuning method should I use, what does it cost, and what do I lose?

>>> import tuneoff
>>> study = tuneoff.load_study("quickstart")
>>> results = tuneoff.run_study(study)
>>> results.to_pandas()[["arm", "seed", "test_accuracy", "train_seconds"]]
>>> tuneoff.load("studies-out/quickstart/runs/lora-seed0-0123456789/model").predict(["A fine film."])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuneoff.api import StudyResults, load_results, run_study
    from tuneoff.core.errors import UserError
    from tuneoff.serving.predictor import Prediction, Predictor, load
    from tuneoff.spec import StudySpec, load_study

__version__ = "0.1.0"
__all__ = [
    "Prediction",
    "Predictor",
    "StudyResults",
    "StudySpec",
    "UserError",
    "load",
    "load_results",
    "load_study",
    "run_study",
]

_HOMES = {
    "Prediction": "tuneoff.serving.predictor",
    "Predictor": "tuneoff.serving.predictor",
    "StudyResults": "tuneoff.api",
    "StudySpec": "tuneoff.spec",
    "UserError": "tuneoff.core.errors",
    "load": "tuneoff.serving.predictor",
    "load_results": "tuneoff.api",
    "load_study": "tuneoff.spec",
    "run_study": "tuneoff.api",
}


def __dir__() -> list[str]:
    """The public names, which are not there before they are used, and what every module has."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tuneoff' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
