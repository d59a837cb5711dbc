"""What tuning tried, chose and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuneoff.data.parts import part_names, part_words
from tuneoff.study.tuning import best, is_at_edge, trial_of

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


def summarise_tuning(results: StudyResults) -> dict[str, Any] | None:
    """Every trial of every arm on every part, the rates chosen, and what it cost; None if nothing was tuned.

    Returns:
        `strategy`, `seeds` (those that trials were run with), `train_seconds` and `runs` (of all trials, which are no
        part of the arms' own cost), `arms`: a list of `arm`, `part`, `chosen`, `at_edge`, `train_seconds`, `trials`
        (in the order of rates: `learning_rate`, `validation_accuracy` and `validation_loss`, None where it failed).
    """
    tuning = results.spec.tuning
    if tuning.trials == 1:
        return None
    arms = [_arm(results, arm.name, part) for part in part_names(results.spec.data) for arm in results.spec.arms]
    return {
        "strategy": tuning.strategy,
        "seeds": list(results.spec.seeds[: tuning.seeds]),
        "runs": len(results.trials),
        "train_seconds": sum(run.get("train_seconds", 0.0) for run in results.trials),
        "arms": [arm for arm in arms if arm["trials"]],
    }


def _arm(results: StudyResults, name: str, part: str) -> dict[str, Any]:
    arm = next(arm for arm in results.spec.arms if arm.name == name)
    runs = [run for run in results.trials if run["arm"] == name and run["part"] == part]
    rates = sorted({run["learning_rate"] for run in runs})
    trials = [trial_of(rate, [run for run in runs if run["learning_rate"] == rate]) for rate in rates]
    return {
        "arm": name,
        "part": part_words(part),
        "chosen": best(trials, arm),
        "at_edge": is_at_edge(trials, arm),
        "train_seconds": sum(run.get("train_seconds", 0.0) for run in runs),
        "trials": [
            {
                "learning_rate": trial.rate,
                "validation_accuracy": trial.accuracy,
                "validation_loss": trial.loss,
            }
            for trial in trials
        ],
    }
