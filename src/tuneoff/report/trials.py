"""What tuning tried, as sentences and table rows that every format shares."""

from __future__ import annotations

from typing import Any

from tuneoff.report.words import percent, seconds

HEADINGS = ("arm", "learning rate", "steps", "validation accuracy", "validation loss", "note")
FAILED = "failed"


def rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row a trial: arm by arm, rates ascending, as text in the order of `HEADINGS`."""
    table: list[tuple[str, ...]] = []
    for arm in summary["tuning"]["arms"]:
        name = arm["arm"] + (f", {arm['part']}" if arm["part"] else "")
        for trial in arm["trials"]:
            scored = trial["validation_accuracy"] is not None
            table.append(
                (
                    name,
                    f"{trial['learning_rate']:g}",
                    f"{trial['steps']:,}",
                    percent(trial["validation_accuracy"]) if scored else "" if trial["too_high"] else FAILED,
                    f"{trial['validation_loss']:.4f}" if scored else "",
                    ", ".join(_notes(arm, trial)),
                )
            )
    return table


def _notes(arm: dict[str, Any], trial: dict[str, Any]) -> list[str]:
    notes = []
    if trial["learning_rate"] == arm["chosen"]:
        notes.append("chosen, at the edge" if arm["at_edge"] else "chosen")
    if trial["too_high"]:
        notes.append("too high")
    elif not trial["learned"] and trial["validation_accuracy"] is not None:
        notes.append("learned nothing")
    return notes


def sentences(summary: dict[str, Any]) -> list[str]:
    """How tuning went, what it cost, and which arms may have a better learning rate than was tried."""
    tuning = summary["tuning"]
    seeds = ", ".join(map(str, tuning["seeds"]))
    told = [
        f"Learning rates were chosen on validation ({tuning['strategy']}; seed {seeds}), before any test example was "
        f"read. The {tuning['runs']} trials took {seconds(tuning['train_seconds'])} of training "
        f"({seconds(tuning['wall_seconds'])} in all), which is no part of the times above."
    ]
    if tuning["untuned"]:
        told.append(f"Not tuned, since the study names its learning rate: {', '.join(tuning['untuned'])}.")
    edges = [arm["arm"] + (f" ({arm['part']})" if arm["part"] else "") for arm in tuning["arms"] if arm["at_edge"]]
    if edges:
        told.append(f"Still at the edge of what was tried: {', '.join(edges)}. A better rate may lie beyond.")
    counts = {len(arm["trials"]) for arm in tuning["arms"]}
    if len(counts) > 1:
        told.append("Arms whose best rate was at an edge have had more trials than others.")
    return told
