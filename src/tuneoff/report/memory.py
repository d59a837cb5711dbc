"""What `tuneoff plan --gpu-memory` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from tuneoff.report.grid import fitting_table
from tuneoff.report.terminal import wide_console

if TYPE_CHECKING:
    from tuneoff.records.memory import ForetoldMemory, MemoryOutline

COLUMNS = (
    "arm",
    "weights",
    "optimiser",
    "gradients",
    "activations",
    "the rest",
    "in all",
    "fits",
    "largest batch",
)


def print_memory(outlined: MemoryOutline) -> None:
    """Each arm's memory by what it is for, in GB, and what to change where it does not fit."""
    console = wide_console()
    size = _gb(outlined.gpu_memory_bytes)
    console.print(escape(f"{outlined.model}, foretold for one GPU of {size} GB in bf16; in GB:"))
    console.print(fitting_table(COLUMNS, [_row(arm) for arm in outlined.arms], console.width, ("arm",)))
    batches = {arm.batch for arm in outlined.arms if arm.batch}
    console.print(f"at the largest batch: {'; '.join(sorted(batches))}" if batches else "nothing is foretold")
    console.print("the rest: results in between, workspaces of libraries, and 0.6 GB of CUDA outside of PyTorch")
    for arm in outlined.arms:
        if arm.advice:
            console.print(escape(f"{arm.arm}: {arm.advice}"))


def _row(arm: ForetoldMemory) -> tuple[str, ...]:
    parts = arm.parts
    if parts is None:
        return (arm.arm, *[""] * (len(COLUMNS) - 3), "?", "")
    rest = parts.temporary + parts.libraries + parts.context
    sizes = (parts.weights, parts.optimiser, parts.gradients, parts.activations, rest, parts.total)
    largest = "none" if arm.largest_batch_size is None else f"{arm.largest_batch_size:,}"
    return (arm.arm, *map(_gb, sizes), "yes" if arm.fits else "no", largest)


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f}"
