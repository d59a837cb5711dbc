"""Entries of the summary for made-up arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.analysis.statistics import mean_interval


def arm_entries(correct: Sequence[NDArray[Any]], names: str, **costs: Sequence[Any]) -> list[dict[str, Any]]:
    """One an arm that got these test examples right, shape (seeds, examples), or none with no seed.

    An arm's costs rise with its place unless given.
    """
    arms = []
    for place, (name, rows) in enumerate(zip(names, correct, strict=True)):
        seconds = costs.get("seconds", [[10.0 + place] * len(rows) for rows in correct])[place]
        arm: dict[str, Any] = {"arm": name, "runs": len(rows), "seeds": list(range(len(rows)))}
        if len(rows):
            arm |= {
                "test_accuracy": asdict(mean_interval(rows)),
                "peak_train_memory_bytes": costs.get("memory", range(1, 9))[place] * 10**9,
                "trainable_parameters": 1000 * (place + 1),
                "checkpoint_bytes": 1000 * (place + 1),
                "train_seconds": float(np.mean(seconds)),
                "train_seconds_by_run": seconds,
                "inference_latency_seconds": costs.get("latency", [None] * 9)[place],
                "inference_latency_seconds_by_run": [],
                "times_shared": costs.get("shared", [False] * 9)[place],
            }
        arms.append(arm)
    return arms
