"""What an arm's memory in training is for: its parts by name, as a chart and a table show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.report.words import megabytes

if TYPE_CHECKING:
    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.summary import Summary

PARTS = (
    *("Python, libraries", "weights", "optimiser", "gradients", "activations"),
    *("results in between", "steps", "workspaces", "reserved beyond", "CUDA itself"),
)
"""In the order in which they are shown."""


def parts_of(arm: ScoredArm) -> dict[str, int]:
    """What its peak is made of, and what lies beside it, in bytes by name; nothing where that is not known."""
    parts = arm.memory_parts
    if parts is None:
        return {}
    on_cpu = parts.process is not None
    sizes = (
        *(parts.process, parts.weights, parts.optimiser, parts.gradients, parts.activations),
        *((None, parts.temporary) if on_cpu else (parts.temporary, None)),
        parts.workspace,
        None if on_cpu else max(0, arm.peak_reserved_memory_bytes - arm.peak_train_memory_bytes),
        parts.context,
    )
    return {name: size for name, size in zip(PARTS, sizes, strict=True) if size}


def shown_parts(summary: Summary) -> list[str]:
    """The names of those that some arm has, in their order."""
    known = {name for arm in summary.scored_arms for name in parts_of(arm)}
    return [name for name in PARTS if name in known]


def part_rows(summary: Summary) -> list[tuple[str, ...]]:
    """One row an arm whose parts are known: its name, and the size of each of `shown_parts`."""
    return [
        (arm.arm, *(megabytes(parts[name]) if name in parts else "" for name in shown_parts(summary)))
        for arm in summary.scored_arms
        if (parts := parts_of(arm))
    ]


def about_parts(summary: Summary) -> str:
    """What a reader of the names must know; nothing where no parts are known."""
    known = [arm.memory_parts for arm in summary.scored_arms if arm.memory_parts is not None]
    said = []
    if any(parts.process is None for parts in known):
        said.append("Beyond the peak: what PyTorch reserves, as for CUDA graphs, and CUDA itself where it is known.")
    if any(parts.process is not None for parts in known):
        said.append("On a CPU it is resident memory, in which what steps take and what they load is not told apart.")
    return " ".join(said)
