"""What tuning tried, chose and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuneoff.data.parts import part_names, part_words
from tuneoff.study.search import Trial, best, is_at_edge
from tuneoff.study.tuning import tuned_arms

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


def summarise_tuning(results: StudyResults) -> dict[str, Any] | None:
    """Every trial of every arm on every part, the rates chosen, and what it cost; None if nothing was tuned.

    Returns:
        `strategy`, `seeds` (those that trials were run with), `runs`, `train_seconds` and `wall_seconds` (of all
        trials, which are no part of the arms' own cost), `untuned` (arms whose rate the study names), `arms`: a list of
        `arm`, `part`, `chosen` (None where no trial came to an end), `at_edge`, `train_seconds`, `trials` (in the order
        of rates: `learning_rate`, `validation_accuracy` and `validation_loss`, None where it failed, `steps`,
        `learned`, `too_high`).
    """
    names = tuned_arms(results.spec)
    if not names:
        return None
    arms = [_arm(results, name, part) for part in part_names(results.spec.data) for name in names]
    return {
        "strategy": results.spec.tuning.strategy,
        "seeds": list(results.spec.seeds[: results.spec.tuning.seeds]),
        "runs": len(results.trials),
        "train_seconds": sum(run.get("train_seconds", 0.0) for run in results.trials),
        "wall_seconds": sum(run.get("wall_seconds", 0.0) for run in results.trials),
        "untuned": [arm.name for arm in results.spec.arms if arm.name not in names and not arm.fitted],
        "arms": [arm for arm in arms if arm["trials"]],
    }


def _arm(results: StudyResults, name: str, part: str) -> dict[str, Any]:
    runs = [run for run in results.trials if run["arm"] == name and run["part"] == part]
    by_rate = {rate: [run for run in runs if run["learning_rate"] == rate] for rate in _rates(runs)}
    trials = [Trial.of(rate, found) for rate, found in by_rate.items()]
    return {
        "arm": name,
        "part": part_words(part),
        "chosen": best(trials),
        "at_edge": is_at_edge(trials),
        "train_seconds": sum(run.get("train_seconds", 0.0) for run in runs),
        "trials": [
            {
                "learning_rate": trial.rate,
                "validation_accuracy": trial.accuracy,
                "validation_loss": trial.loss,
                "steps": by_rate[trial.rate][0]["steps"],
                "learned": trial.learned,
                "too_high": trial.too_high,
            }
            for trial in trials
        ],
    }


def _rates(runs: list[dict[str, Any]]) -> list[float]:
    return sorted({run["learning_rate"] for run in runs})
