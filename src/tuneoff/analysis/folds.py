"""The runs of one seed's folds as one result, for what is said of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.tasks.single_label import accuracy, macro_f1

if TYPE_CHECKING:
    import pandas as pd

MEANS = (
    "validation_accuracy",
    "train_seconds",
    "setup_seconds",
    "eval_seconds",
    "checkpoint_seconds",
    "wall_seconds",
    "train_examples_per_second",
    "inference_latency_seconds",
)
"""What a fold costs or reaches: as a study without folds would have it from one run."""
OF_ONE_RUN = ("run_id", "part", "steps", "curve", "guess_loss", "loss_trace", "resumed", "predictions_sha256", "sha256")


def pooled(runs: Sequence[dict[str, Any]], predictions: pd.DataFrame) -> dict[str, Any]:
    """One result from those of a seed's folds, in the fields of `result.json`.

    Test scores are those of all folds' predictions together; seconds are means over folds, memory and checkpoint the
    largest. What belongs to one run alone is left out.

    Args:
        runs: all of them succeeded.
        predictions: of all folds, with the columns `label` and `prediction`.
    """
    labels, guesses = predictions["label"], predictions["prediction"]
    known = {name: [run[name] for run in runs if run.get(name) is not None] for name in MEANS}
    return {
        **{name: value for name, value in runs[0].items() if name not in OF_ONE_RUN},
        **{name: float(np.mean(values)) if values else None for name, values in known.items()},
        "test_accuracy": accuracy(guesses, labels),
        "test_macro_f1": macro_f1(guesses, labels),
        "peak_memory_bytes": {
            name: max(run["peak_memory_bytes"][name] for run in runs) for name in runs[0]["peak_memory_bytes"]
        },
        "checkpoint_bytes": max(run["checkpoint_bytes"] for run in runs),
        "conditions": {
            **runs[0]["conditions"],
            "shared_device": any(run["conditions"]["shared_device"] for run in runs),
        },
    }
