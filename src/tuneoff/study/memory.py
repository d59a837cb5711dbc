"""Whether each arm of a study fits into a GPU's memory, and what to change where it does not: nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.core.errors import UserError
from tuneoff.data.audit import stop_on_errors
from tuneoff.data.encode import encode_all
from tuneoff.data.parts import WHOLE
from tuneoff.data.prepare import audited, cutting_tokenizer
from tuneoff.models.load import load_config, load_tokenizer, resolve_config
from tuneoff.records.memory import ForetoldMemory, MemoryOutline
from tuneoff.runs.memory_forecast import ArmForecast, BatchShape, largest_batch
from tuneoff.training.loop import total_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.data.splits import Splits
    from tuneoff.spec import StudySpec, TrainingSpec
    from tuneoff.spec.arms import ArmSpec

LOOKS = 4
"""How often a size of batch is tried before it is taken for the largest that fits."""


def outline_memory(spec: StudySpec, gpu_memory: int) -> MemoryOutline:
    """The content of `tuneoff plan --gpu-memory`.

    The model's weights are not read, so that its configuration alone will do, as a folder or on the Hub. Where its
    tokenizer is missing, all texts count as long as `data.max_length`.

    Args:
        spec: the study.
        gpu_memory: bytes of the device.

    Raises:
        UserError: where data or model cannot be used, or the study is trained in a way whose memory is not foretold.
    """
    if spec.training.precision == "fp32":
        raise UserError("training.precision = 'fp32': memory is foretold for bf16 alone; leave it out")
    if spec.training.parallel != "none":
        raise UserError("training.parallel: memory is foretold for runs on one device; set it to 'none'")
    try:
        import triton  # noqa: F401
    except ImportError:
        raise UserError(
            "memory is foretold with the kernels of a GPU, for which Triton is missing: pip install triton (on Linux)"
        ) from None
    folder = resolve_config(spec.model.id)
    with audited(spec.data, lambda _: None) as (parts, findings):
        stop_on_errors(findings)
        splits = parts.get(WHOLE) or next(iter(parts.values()))
        lengths, pad_token_id = _lengths(spec, folder, splits)
    config = load_config(folder, len(splits.label_names), pad_token_id)
    return MemoryOutline(
        study=spec.name,
        model=spec.model.id,
        gpu_memory_bytes=gpu_memory,
        batch_size=spec.training.batch_size,
        gradient_checkpointing=spec.training.gradient_checkpointing,
        arms=tuple(_foretold(arm, spec, config, lengths, gpu_memory) for arm in spec.arms),
    )


def _lengths(spec: StudySpec, folder: Path, splits: Splits) -> tuple[NDArray[np.int64], int]:
    """Tokens of each training text, and the token that pads."""
    try:
        load_tokenizer(folder)
    except UserError:  # it is not there, or of no use
        return np.full(splits.sizes["train"], spec.data.max_length), 0
    definition, pad_token_id = cutting_tokenizer(spec, folder, len(splits.label_names))
    columns = ["text", *(["text_pair"] if splits.rows.columns.text_pair else [])]

    def batches() -> Any:
        for table in splits.tables("train", columns):
            texts = [table.column(name).to_pylist() for name in columns]
            yield texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))

    encoded = encode_all(batches(), definition, splits.sizes["train"], spec.data.long_texts)
    return np.concatenate([piece.lengths for piece in encoded]).astype(np.int64), pad_token_id


def _foretold(
    arm: ArmSpec, spec: StudySpec, config: Any, lengths: NDArray[np.int64], gpu_memory: int
) -> ForetoldMemory:
    nothing = {"batch": None, "parts": None, "fits": None, "largest_batch_size": None}
    try:
        forecast = ArmForecast(arm, config, spec.training)
        shape = _shape(lengths, spec.training, spec, forecast.packed)
        parts = forecast.parts(shape)
    except UserError as error:
        return ForetoldMemory(arm=arm.name, method=arm.method, advice=str(error), **nothing)
    fits = parts.total <= gpu_memory
    largest = _largest_batch_size(forecast, lengths, spec, gpu_memory)
    return ForetoldMemory(
        arm=arm.name,
        method=arm.method,
        batch=shape.words(forecast.packed),
        parts=parts,
        fits=fits,
        largest_batch_size=largest,
        advice=None if fits else _advice(arm, spec, config, lengths, gpu_memory, largest),
    )


def _shape(lengths: NDArray[np.int64], training: TrainingSpec, spec: StudySpec, packed: bool) -> BatchShape:
    return largest_batch(lengths, training, spec.seeds[0], total_steps(len(lengths), training), packed)


def _largest_batch_size(
    forecast: ArmForecast, lengths: NDArray[np.int64], spec: StudySpec, gpu_memory: int
) -> int | None:
    """The most sequences of a step that fit: by a line through two sizes, which the size that it leads to corrects."""

    def shape(size: int) -> BatchShape:
        training = spec.training.model_copy(update={"batch_size": size})
        return _shape(lengths, training, spec, forecast.packed)

    def slots(size: int) -> int:
        found = shape(size)
        return found.tokens if forecast.packed else found.sequences * found.longest

    def total(size: int) -> int:
        return forecast.parts(shape(size)).total

    least = total(1)
    if least > gpu_memory:
        return None
    fitting, other = 1, spec.training.batch_size if spec.training.batch_size > 1 else 2
    for _ in range(LOOKS):
        taken = total(other)
        if taken <= gpu_memory:
            fitting = max(fitting, other)
        a_slot = (taken - least) / max(1, slots(other) - slots(1))
        room = slots(1) + (gpu_memory - least) / max(a_slot, 1.0)
        best = _most(slots, room, len(lengths))
        if best == other:
            break
        other = best
    return fitting


def _most(slots: Any, room: float, most: int) -> int:
    """The largest size of batch, at least 1 and at most `most`, whose slots there is room for."""
    low, high = 1, max(1, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if slots(middle) <= room else (low, middle - 1)
    return low


def _advice(
    arm: ArmSpec,
    spec: StudySpec,
    config: Any,
    lengths: NDArray[np.int64],
    gpu_memory: int,
    largest: int | None,
) -> str:
    """What to change so that an arm fits."""
    ways = []
    if not spec.training.gradient_checkpointing:
        training = spec.training.model_copy(update={"gradient_checkpointing": True})
        try:
            forecast = ArmForecast(arm, config, training)
            taken = forecast.parts(_shape(lengths, training, spec, forecast.packed)).total
        except UserError:
            taken = gpu_memory + 1
        if taken <= gpu_memory:
            ways.append(f"training.gradient_checkpointing = true takes {taken / 1e9:.2f} GB")
    if largest is not None:
        ways.append(f"left as it is, gradients are accumulated over at most {largest} sequences at once: slower")
    if ways:
        return "; ".join(ways)
    other = "a smaller model" if arm.quantised else "qlora or a smaller model"
    return f"not even one sequence fits; shorten data.max_length, or choose {other}"
