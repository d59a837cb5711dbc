"""Which runs may share a GPU with others: those that are known to fit beside each other before they begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.data.parts import part_names
from tuneoff.data.prepared import load_tokens
from tuneoff.models.fingerprint import model_files
from tuneoff.models.load import load_config
from tuneoff.runs.memory_forecast import CONTEXT_BYTES, ArmForecast, largest_batch
from tuneoff.spec.arms import METHODS
from tuneoff.study.plan import steps_of

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.study.prepare import PreparedStudy

SMALL = 8
"""A model whose files are more than so small a part of a GPU's memory leaves nothing idle that another run could use,
and takes long to go through."""
HEAD = "head_only"
SPARE = 1.25
"""Times what is foretold: what an allocator holds beyond what it hands out."""


def bytes_beside_others(spec: StudySpec, prepared: PreparedStudy, precision: str, room: int) -> dict[str, int]:
    """What a run of each arm takes of a GPU at most, by the arm's name; arms that need one for themselves are left out.

    These are arms whose memory is not foretold, or which leave no room for another of their kind.

    Args:
        spec: the study.
        prepared: its data.
        precision: that runs compute in.
        room: bytes of a GPU that are free.
    """
    files = model_files(prepared.model_folder)
    limited = spec.execution.max_run_time is not None  # which is meant for a run that has its device alone
    if limited or precision != "bf16" or sum(path.stat().st_size for path in files) > room / SMALL:
        return {}
    try:
        import triton  # noqa: F401
    except ImportError:
        return {}
    found = {}
    for arm in spec.arms:
        taken = _foretold(arm, spec, prepared)
        if taken is not None and taken <= room / 2:
            found[arm.name] = taken
    return found


def _foretold(arm: ArmSpec, spec: StudySpec, prepared: PreparedStudy) -> int | None:
    """What a run takes on the part of the data with the most for training; None where that is not known."""
    part = max(part_names(spec.data), key=lambda name: prepared.prepared.part(name).sizes["train"])
    rule = arm.long_texts or spec.data.long_texts
    tokens = load_tokens(prepared.stored_in, rule, part, ("train", "validation"))
    if tokens["train"].windows is not None:
        return None
    config = load_config(prepared.model_folder, len(prepared.prepared.label_names), prepared.prepared.pad_token_id)
    try:
        # What is fitted reads texts as an evaluation does, and takes no steps.
        reads = METHODS.named(HEAD).model_validate({"method": HEAD}) if arm.fitted else arm
        forecast = ArmForecast(reads, config, spec.training)
        lengths = tokens["train"].lengths
        steps = steps_of(spec, prepared, part)
        shape = largest_batch(lengths, spec.training, spec.seeds[0], steps, forecast.packed)
        evaluation = forecast.evaluation_bytes(int(max(split.lengths.max() for split in tokens.values())))
        train = 0 if arm.fitted else forecast.parts(shape).allocated
    except UserError:
        return None
    return int(SPARE * max(train, evaluation)) + CONTEXT_BYTES
