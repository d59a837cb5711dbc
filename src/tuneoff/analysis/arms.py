"""What is said of each arm: accuracy, calibration, costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.analysis.learning import learning_of
from tuneoff.analysis.statistics import (
    brier_score,
    expected_calibration_error,
    mean_interval,
    per_class_f1,
    softmax,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults


def describe_arm(results: StudyResults, name: str, correct: NDArray[np.float64]) -> dict[str, Any]:
    """An arm's entry in `summary.json`; without scores and costs where no run has succeeded.

    Args:
        results: of the study.
        name: the arm's.
        correct: shape (seeds, examples).
    """
    runs = results.of_arm(name)
    spec = next(arm for arm in results.spec.arms if arm.name == name)
    failures = [run for run in results.failed if run["arm"] == name]
    learning = learning_of(results, name)
    arm: dict[str, Any] = {
        "arm": name,
        "method": spec.method,
        "learning_rate": _only({run["learning_rate"] for run in runs}),
        "learning": learning and learning.model_dump(mode="json"),
        "runs": len(runs),
        "seeds": [run["seed"] for run in runs],
        "failed": [
            {"seed": run["seed"], "part": run.get("part", ""), "status": run["status"], "error": run["error"]}
            for run in failures
        ],
    }
    if not runs:
        return arm
    unmerged = spec.mergeable and runs[0]["parameters"]["adapter"] > 0  # runs are timed as they were trained
    return arm | _scores(results, name, runs, correct) | _costs(runs) | {"adapter_unmerged": unmerged}


def _only(rates: set[float]) -> float | None:
    """The learning rate of an arm's runs; None where parts of the data were tuned to several, or none has run."""
    return rates.pop() if len(rates) == 1 else None


def _scores(
    results: StudyResults, name: str, runs: list[dict[str, Any]], correct: NDArray[np.float64]
) -> dict[str, Any]:
    names = list(results.prepared.label_names)
    scored = [
        (frame["label"].to_numpy(), frame["prediction"].to_numpy(), softmax(np.stack(frame["logits"].to_list())))
        for frame in results.predictions(name)
    ]
    f1 = np.mean([per_class_f1(labels, predictions, len(names)) for labels, predictions, _ in scored], axis=0)
    return {
        "test_accuracy": asdict(mean_interval(correct)),
        "test_accuracies": [run["test_accuracy"] for run in runs],
        "test_macro_f1": _mean(run["test_macro_f1"] for run in runs),
        "per_class_f1": dict(zip(names, map(float, f1), strict=True)),
        "expected_calibration_error": _mean(
            expected_calibration_error(labels, probabilities) for labels, _, probabilities in scored
        ),
        "brier_score": _mean(brier_score(labels, probabilities) for labels, _, probabilities in scored),
        "validation_accuracy": _mean(run["validation_accuracy"] for run in runs),
    }


def _costs(runs: list[dict[str, Any]]) -> dict[str, Any]:
    memory = [run["peak_memory_bytes"] for run in runs]
    # Times on a device that was shared are never mixed with others; they stand alone only where there are no others.
    timed = [run for run in runs if not run["conditions"]["shared_device"]] or runs
    latencies = [run["inference_latency_seconds"] for run in timed if run.get("inference_latency_seconds") is not None]
    return {
        "times_shared": all(run["conditions"]["shared_device"] for run in runs),
        "train_seconds": _mean(run["train_seconds"] for run in timed),
        "train_seconds_by_run": [run["train_seconds"] for run in timed],
        "train_examples_per_second": _mean(run["train_examples_per_second"] for run in timed),
        "setup_seconds": _mean(run["setup_seconds"] for run in timed),
        "eval_seconds": _mean(run["eval_seconds"] for run in timed),
        "inference_latency_seconds": _mean(latencies) if latencies else None,
        "inference_latency_seconds_by_run": latencies,
        "peak_train_memory_bytes": max(peak["train"] for peak in memory),
        "peak_eval_memory_bytes": max(peak["eval"] for peak in memory),
        "peak_reserved_memory_bytes": max(peak["reserved"] for peak in memory),
        "memory_kind": runs[0]["memory_kind"],
        "trainable_parameters": runs[0]["parameters"]["trainable"],
        "parameters": runs[0]["parameters"],
        "checkpoint_bytes": max(run["checkpoint_bytes"] for run in runs),
        "precision": runs[0]["conditions"]["precision"],
        "engine": runs[0]["conditions"]["engine"],
        "device": runs[0]["conditions"]["device"],
    }


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
