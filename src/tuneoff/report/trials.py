"""What tuning tried, as sentences and table rows that every format shares."""

from __future__ import annotations

from typing import Any

from tuneoff.report.words import percent, seconds

HEADINGS = (
    "arm",
    "learning rate",
    "steps",
    "validation accuracy",
    "validation loss",
    "score (lower is better)",
    "note",
)
MOST_NAMED = 3
"""Arms of which it is told that another rate was more accurate; of more, how many they are."""
FAILED = "failed"
WHY = {
    "loss": "since its validation loss is lower",
    "neighbours": "since a rate beside that one did worse, and another seed may do so there",
}
"""Why a rate that was less accurate on validation was chosen."""


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
                    f"{trial['score']:.3f}" if scored else "",
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


def _took(trials: int) -> str:
    return f"The {trials} trials took" if trials > 1 else "The one trial took"


def _passed_over(arms: list[dict[str, Any]]) -> list[str]:
    """One sentence on the arms of which another rate than the one chosen was more accurate on validation, and why."""
    named = []
    for arm in arms:
        if (other := arm["passed_over"]) is None:
            continue
        name = arm["arm"] + (f" ({arm['part']})" if arm["part"] else "")
        chosen = next(trial for trial in arm["trials"] if trial["learning_rate"] == arm["chosen"])
        named.append(
            f"{name} runs at {arm['chosen']:g}, though {other['learning_rate']:g} was more accurate on validation "
            f"({percent(other['validation_accuracy'])}, not {percent(chosen['validation_accuracy'])}), "
            f"{WHY[other['because']]}"
        )
    if len(named) > MOST_NAMED:
        named = [*named[:MOST_NAMED], f"likewise {len(named) - MOST_NAMED} more (see the table)"]
    return [f"{'; '.join(named)}."] if named else []


def sentences(summary: dict[str, Any]) -> list[str]:
    """How tuning went, what it cost, and which arms may have a better learning rate than was tried."""
    tuning = summary["tuning"]
    seeds = ", ".join(map(str, tuning["seeds"]))
    told = [
        f"Learning rates were chosen on validation ({tuning['strategy']}; seed {seeds}), before any test example was "
        f"read. {_took(tuning['runs'])} {seconds(tuning['train_seconds'])} of training "
        f"({seconds(tuning['wall_seconds'])} in all), which is no part of the times above. The rate with the lowest "
        "score is chosen: validation loss in units of guessing (at most 1) less validation accuracy, with a share of "
        "the scores of the rates beside it."
    ]
    told += _passed_over(tuning["arms"])
    if tuning["few_validation"]:
        told.append(f"{tuning['few_validation']}.")
    if tuning["untuned"]:
        told.append(f"Not tuned, since the study names its learning rate: {', '.join(tuning['untuned'])}.")
    edges = [arm["arm"] + (f" ({arm['part']})" if arm["part"] else "") for arm in tuning["arms"] if arm["at_edge"]]
    if edges:
        told.append(f"Still at the edge of what was tried: {', '.join(edges)}. A better rate may lie beyond.")
    counts = {len(arm["trials"]) for arm in tuning["arms"]}
    if len(counts) > 1:
        told.append("Arms whose best rate was at an edge have had more trials than others.")
    return told
