"""Arms of the summary that are made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.analysis.statistics import mean_interval
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.class_scores import ByClass
from tuneoff.records.learning import Learning, LearningState
from tuneoff.records.measurements import ParameterCounts

CONDITIONS = {"device": "a GPU", "shared device": "no", "versions.torch": "2.13.0"}


def learning(state: LearningState, sentence: str = "its training loss stayed at that of guessing.") -> Learning:
    """Whether an arm learned."""
    return Learning(state=state, runs=1, not_learned=int(state != "learned"), sentence=sentence)


def arm_entries(
    correct: Sequence[NDArray[Any]],
    names: Sequence[str],
    seeds: Sequence[Sequence[int]] | None = None,
    idle: Sequence[str] = (),
    conditions: Mapping[str, Mapping[str, str]] | None = None,
    **costs: Sequence[Any],
) -> list[ArmSummary]:
    """One an arm that got these test examples right, shape (seeds, examples), or none with no seed.

    An arm's costs rise from the first to the last unless given.

    Args:
        correct: by arm.
        names: of the arms.
        seeds: of each arm; 0 and so on when left out.
        idle: arms that did not learn.
        conditions: what of `CONDITIONS` is otherwise, by arm.
        costs: `seconds` by run, `memory` in GB, `latency`, and `shared`, whether times are; each by arm.
    """
    arms: list[ArmSummary] = []
    for index, (name, rows) in enumerate(zip(names, correct, strict=True)):
        seconds = list(costs.get("seconds", [[10.0 + index] * len(rows) for rows in correct])[index])
        latency = costs.get("latency", [None] * 9)[index]
        shared = costs.get("shared", [False] * 9)[index]
        arm = ArmSummary(
            arm=name,
            method="full",
            learning_rate=1e-3,
            learning=learning("not learned") if name in idle else None,
            runs=len(rows),
            seeds=tuple(range(len(rows)) if seeds is None else seeds[index]),
            failed=(),
        )
        if not len(rows):
            arms.append(arm)
            continue
        arms.append(
            ScoredArm(
                **dict(arm),
                conditions={
                    **CONDITIONS,
                    "shared device": "yes" if shared else "no",
                    **(conditions or {}).get(name, {}),
                },
                measured_runs=len(rows),
                times_shared=shared,
                train_seconds=float(np.mean(seconds)),
                train_seconds_by_run=tuple(seconds),
                train_examples_per_second=100.0,
                setup_seconds=1.0,
                eval_seconds=1.0,
                device_seconds=float(np.mean(seconds)) + 2,
                device_seconds_by_run=tuple(second + 2 for second in seconds),
                inference_latency_seconds=latency,
                inference_latency_seconds_by_run=() if latency is None else (latency,),
                peak_train_memory_bytes=costs.get("memory", range(1, 9))[index] * 10**9,
                peak_eval_memory_bytes=10**9,
                peak_reserved_memory_bytes=10**10,
                memory_kind="cuda_allocated",
                precision="bfloat16",
                engine={},
                device="a GPU",
                test_score=mean_interval(rows),
                test_scores=tuple(float(row.mean()) for row in rows),
                test_accuracy=mean_interval(rows),
                test_accuracies=tuple(float(row.mean()) for row in rows),
                test_macro_f1=0.5,
                test_metrics={},
                by_class=ByClass(balanced_accuracy=0.5, mcc=0.0, classes={}, confusions=()),
                expected_calibration_error=0.1,
                calibrated_error=0.1,
                brier_score=0.1,
                reliability=(),
                validation_accuracy=0.5,
                trainable_parameters=1000 * (index + 1),
                parameters=ParameterCounts(total=1, backbone=1, adapter=0, head=0, trainable=1),
                checkpoint_bytes=1000 * (index + 1),
                adapter_unmerged=False,
                other_costs=(),
            )
        )
    return arms
