"""What runs will take of a GPU, known before any of them begins: which may share one, and which will not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.core.quantities import parse_bytes
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
"""A model whose files are more than such a part of a GPU's memory leaves nothing idle that another run could use."""
HEAD = "head_only"
SPARE = 1.25
"""Times what is foretold: what an allocator holds beyond what it hands out."""


@dataclass(frozen=True)
class Foretold:
    """What a run of an arm takes of a GPU at most, in bytes.

    Attributes:
        train: what PyTorch's allocator hands out in training.
        evaluation: the same in evaluation, which takes smaller batches where that does not fit.
    """

    train: int
    evaluation: int

    @property
    def beside_others(self) -> int:
        """What it is given room for where others take the rest."""
        return int(SPARE * max(self.train, self.evaluation)) + CONTEXT_BYTES


def foretell(spec: StudySpec, prepared: PreparedStudy, precision: str) -> dict[str, Foretold]:
    """By the names of arms; those are left out whose memory is not foretold.

    Args:
        spec: the study.
        prepared: its data.
        precision: that runs compute in.
    """
    if precision != "bf16":
        return {}
    try:
        import triton  # noqa: F401
    except ImportError:
        return {}
    found = {arm.name: _foretold(arm, spec, prepared) for arm in spec.arms}
    return {name: one for name, one in found.items() if one is not None}


def beside_others(foretold: dict[str, Foretold], spec: StudySpec, prepared: PreparedStudy, room: int) -> dict[str, int]:
    """What a run of each arm takes that may share a GPU, in bytes; arms that need one for themselves are left out.

    Args:
        foretold: of the study's arms.
        spec: the study.
        prepared: its data.
        room: bytes of a GPU that are free.
    """
    files = sum(path.stat().st_size for path in model_files(prepared.model_folder))
    # A limit on time is meant for a run that has its device alone.
    if spec.execution.max_run_time is not None or files > room / SMALL:
        return {}
    return {name: one.beside_others for name, one in foretold.items() if one.beside_others <= room / 2}


def too_large(foretold: dict[str, Foretold], spec: StudySpec, room: int | None) -> list[str]:
    """A sentence for each limit that arms are foretold to exceed.

    Args:
        foretold: of the study's arms.
        spec: the study.
        room: bytes of a GPU that are free, where that is known.
    """
    limits = {
        "execution.max_memory": ("will run out of it", spec.execution.max_memory),
        "analysis.max_memory": ("will not be recommended", spec.analysis.max_memory),
    }
    told = []
    for name, (what, limit) in limits.items():
        if limit is not None:
            told += _told(foretold, parse_bytes(limit), f"{name} = {limit}", what)
    if room is not None:
        told += _told(foretold, room - CONTEXT_BYTES, f"the {room / 1e9:.1f} GB that the GPU has free", "will not fit")
    return told


def _told(foretold: dict[str, Foretold], limit: int, called: str, what: str) -> list[str]:
    over = [f"{name} ({one.train / 1e9:.1f} GB)" for name, one in foretold.items() if one.train > limit]
    if not over:
        return []
    return [
        f"Foretold: {', '.join(over)} {'takes' if len(over) == 1 else 'take'} more in training than {called}, and "
        f"{what}; `tuneoff plan --gpu-memory` says what to change"
    ]


def _foretold(arm: ArmSpec, spec: StudySpec, prepared: PreparedStudy) -> Foretold | None:
    """On the part of the data with the most for training; None where that is not known."""
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
        evaluation = forecast.evaluation_bytes(int(max(split.lengths.max() for split in tokens.values())))
        if arm.fitted:
            return Foretold(evaluation, evaluation)
        steps = steps_of(spec, prepared, part)
        shape = largest_batch(tokens["train"].lengths, spec.training, spec.seeds[0], steps, forecast.packed)
        return Foretold(forecast.parts(shape).allocated, evaluation)
    except UserError:
        return None
