"""What tuning tried, as sentences and table rows that every format shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.analysis.wording import better
from tuneoff.report.words import duration, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuneoff.records.tuning import ArmTuning, TrialSummary, TuningSummary

MOST_NAMED = 3
"""Arms of which it is told that another rate was better; of more, how many they are."""
FAILED = "failed"
WHY = {
    "loss": "since its validation loss is lower",
    "neighbours": "since a rate beside that one did worse, and another seed may do so there",
}
"""Why a rate that was worse on validation was chosen."""


def headings(metric: str) -> tuple[str, ...]:
    """Those of `rows`."""
    scores = (f"validation {metric}", "validation loss", "score (lower is better)")
    return ("arm", "learning rate", "steps", *scores, "note")


def rows(tuning: TuningSummary, metric: str) -> list[tuple[str, ...]]:
    """One row a trial: arm by arm, rates ascending, as text in the order of `headings`."""
    table: list[tuple[str, ...]] = []
    for arm in tuning.arms:
        name = arm.arm + (f", {arm.part}" if arm.part else "")
        for trial in arm.trials:
            reached, loss, chosen_by = trial.validation_score, trial.validation_loss, trial.score
            table.append(
                (
                    name,
                    f"{trial.learning_rate:g}",
                    f"{trial.steps:,}",
                    score(reached, metric) if reached is not None else "" if trial.too_high else FAILED,
                    f"{loss:.4f}" if loss is not None else "",
                    f"{chosen_by:.3f}" if chosen_by is not None else "",
                    ", ".join(_notes(arm, trial)),
                )
            )
    return table


def _notes(arm: ArmTuning, trial: TrialSummary) -> list[str]:
    notes = []
    if trial.learning_rate == arm.chosen:
        notes.append("chosen, at the edge" if arm.at_edge else "chosen")
    if trial.too_high:
        notes.append("too high")
    elif not trial.learned and trial.validation_accuracy is not None:
        notes.append("learned nothing")
    return notes


def _took(trials: int) -> str:
    return f"The {trials} trials took" if trials > 1 else "The one trial took"


def _passed_over(arms: Sequence[ArmTuning], metric: str) -> list[str]:
    """One sentence on the arms of which another rate than the one chosen was better on validation, and why."""
    named = []
    for arm in arms:
        if (other := arm.passed_over) is None:
            continue
        chosen = next(trial for trial in arm.trials if trial.learning_rate == arm.chosen)
        assert chosen.validation_score is not None
        named.append(
            f"{_name(arm)} runs at {chosen.learning_rate:g}, though {other.learning_rate:g} was {better(metric)} on "
            f"validation ({score(other.validation_score, metric)}, not {score(chosen.validation_score, metric)}), "
            f"{WHY[other.because]}"
        )
    if len(named) > MOST_NAMED:
        named = [*named[:MOST_NAMED], f"likewise {len(named) - MOST_NAMED} more (see the table)"]
    return [f"{'; '.join(named)}."] if named else []


def _name(arm: ArmTuning) -> str:
    return arm.arm + (f" ({arm.part})" if arm.part else "")


def sentences(tuning: TuningSummary, metric: str) -> list[str]:
    """How tuning went, what it cost, and which arms may have a better learning rate than was tried."""
    seeds = ", ".join(map(str, tuning.seeds))
    told = [
        f"Learning rates were chosen on validation ({tuning.strategy}; seed {seeds}), before any test example was "
        f"read. {_took(tuning.runs)} {duration(tuning.train_seconds)} of training "
        f"({duration(tuning.wall_seconds)} in all), which is no part of the times above. The rate with the lowest "
        f"score is chosen: validation loss in units of guessing (at most 1) less validation {metric}, with a share of "
        "the scores of the rates beside it."
    ]
    told += _passed_over(tuning.arms, metric)
    if tuning.few_validation:
        told.append(f"{tuning.few_validation}.")
    if tuning.untuned:
        told.append(f"Not tuned, since the study names its learning rate: {', '.join(tuning.untuned)}.")
    edges = [_name(arm) for arm in tuning.arms if arm.at_edge]
    if edges:
        told.append(f"Still at the edge of what was tried: {', '.join(edges)}. A better rate may lie beyond.")
    counts = {len(arm.trials) for arm in tuning.arms}
    if len(counts) > 1:
        told.append("Arms whose best rate was at an edge have had more trials than others.")
    return told
