"""What tuning tried, as sentences and table rows that every format shares."""

from __future__ import annotations

from typing import Any

from tuneoff.report.words import percent, seconds

HEADINGS = ("arm", "learning rate", "validation accuracy", "validation loss", "note")
FAILED = "failed"


def rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row a trial: arm by arm, rates ascending, as text in the order of `HEADINGS`."""
    table: list[tuple[str, ...]] = []
    for arm in summary["tuning"]["arms"]:
        name = arm["arm"] + (f", {arm['part']}" if arm["part"] else "")
        for trial in arm["trials"]:
            scored = trial["validation_accuracy"] is not None
            chosen = trial["learning_rate"] == arm["chosen"] and scored
            table.append(
                (
                    name,
                    f"{trial['learning_rate']:g}",
                    percent(trial["validation_accuracy"]) if scored else FAILED,
                    f"{trial['validation_loss']:.4f}" if scored else "",
                    ("chosen, at the edge" if arm["at_edge"] else "chosen") if chosen else "",
                )
            )
    return table


def sentences(summary: dict[str, Any]) -> list[str]:
    """How tuning went, what it cost, and which arms may have a better learning rate than was tried."""
    tuning = summary["tuning"]
    seeds = ", ".join(map(str, tuning["seeds"]))
    told = [
        f"Learning rates were chosen on validation ({tuning['strategy']}; seed {seeds}), before any test example was "
        f"read. The {tuning['runs']} trials took {seconds(tuning['train_seconds'])} of training, which is no part of "
        "the times above."
    ]
    edges = [arm["arm"] + (f" ({arm['part']})" if arm["part"] else "") for arm in tuning["arms"] if arm["at_edge"]]
    if edges:
        told.append(
            f"At the edge of what was tried: {', '.join(edges)}. A better rate may lie beyond (tuning.extend = true "
            "goes on there)."
        )
    counts = {len(arm["trials"]) for arm in tuning["arms"]}
    if len(counts) > 1:
        told.append("Arms whose best rate was at an edge have had more trials than others.")
    return told
