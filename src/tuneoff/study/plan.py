"""The plan: which runs a study consists of, each with an identity of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tuneoff.core.files import canonical_hash
from tuneoff.data.parts import WHOLE, part_names
from tuneoff.records.run import RESULT_SCHEMA_VERSION
from tuneoff.runs.run import Run
from tuneoff.spec.arms import ArmSpec
from tuneoff.study.search import trial_steps
from tuneoff.training.loop import total_steps

if TYPE_CHECKING:
    from tuneoff.runs.allocation import Allocation
    from tuneoff.spec import StudySpec
    from tuneoff.study.prepare import PreparedStudy


UNDECISIVE = {"device", "precision", "parallel", "thresholds"}
"""Of `[training]`: what comes of the first three is for the allocation to say, and thresholds are named by themselves,
since most studies have none."""


def plan_runs(
    spec: StudySpec, prepared: PreparedStudy, allocation: Allocation, tuned: Callable[[str], Iterable[ArmSpec]]
) -> list[Run]:
    """Every arm with every seed on every part, so ordered that a study cut short has still compared all arms.

    Args:
        spec: the study.
        prepared: its data.
        allocation: what its runs are computed on.
        tuned: the study's arms with the learning rates that they run at on a part.
    """
    arms = {part: list(tuned(part)) for part in part_names(spec.data)}
    return [
        make_run(spec, prepared, allocation, arm, seed, part)
        for seed in spec.seeds
        for part in arms
        for arm in arms[part]
    ]


def make_run(
    spec: StudySpec,
    prepared: PreparedStudy,
    allocation: Allocation,
    arm: ArmSpec,
    seed: int,
    part: str,
    trial: bool = False,
) -> Run:
    """A run; its id ends in a hash of all that decides its result, so an old result is never taken for another's.

    That is its data, model, training, arm and seed, and what of the allocation changes the bits.
    """
    named = [] if part == WHOLE else [part]
    steps = steps_of(spec, prepared, part)
    if trial:
        steps = trial_steps(steps)
    tried = [f"trial{arm.rate:g}", steps] if trial else []
    decisive = [
        RESULT_SCHEMA_VERSION,
        prepared.prepared.fingerprint_of(part, arm.long_texts),
        prepared.prepared.model_fingerprint,
        spec.training.model_dump(mode="json", exclude=UNDECISIVE),
        allocation.decisive(arm),
        arm.model_dump(mode="json", exclude={"learning_rate_range", "long_texts"}),
        seed,
        *named,
        *tried,
        *([] if (rule := arm.long_texts or spec.data.long_texts) == "head" else [rule]),
        *([] if spec.objective == "accuracy" else [spec.objective]),  # its value on validation is part of the result
    ]
    if spec.chosen_for(len(prepared.prepared.label_names)) is not None:
        decisive.append("thresholds")
    name = "-".join([arm.name, *map(str, tried[:1]), f"seed{seed}", *named, canonical_hash(decisive)[:10]])
    return Run(name, arm, seed, steps, part, trial)


def steps_of(spec: StudySpec, prepared: PreparedStudy, part: str) -> int:
    """Optimiser steps of a run on a part of the data."""
    return total_steps(prepared.prepared.part(part).sizes["train"], spec.training)
