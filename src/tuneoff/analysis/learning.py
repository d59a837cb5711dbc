"""Did it learn? An arm that did not is marked wherever its accuracy stands, with the cause and what to set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneoff.study.rates import starting_rate
from tuneoff.study.tuning import tuned_arms
from tuneoff.training.signs import NEAR_GUESSING, Signs

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.methods import Method
    from tuneoff.study.prepare import PreparedPart

LEARNED = "learned"
NOT_LEARNED = "not learned"
DIVERGED = "diverged"
GUESSING = "no better than guessing"
CONSTANT = 0.99
"""From this share of validation examples with the same answer on, predictions are constant."""
NOISE = 2.0
"""Standard errors above the majority class within which an accuracy is no better than it."""
FEW_EXAMPLES = 50
"""A validation loss over fewer says little; then the test split alone tells whether anything was learned."""
FEW_STEPS = 50
FAR = 5
"""Times lower or higher than the starting rate: then a named rate is the likely cause."""
DONE = ("ok", "diverged")


def learning_of(results: StudyResults, name: str) -> dict[str, Any] | None:
    """Whether an arm learned, as plain JSON; None where no run of it has ended.

    Returns:
        `state`: "learned", "not learned" (its training loss stayed near that of guessing), "diverged" (the loss rose,
        or is no number), or "no better than guessing" (it learned its training data, and nothing about other texts), as
        most of its runs are; `runs` of which `not_learned` are in another state than "learned"; `sentence`, the
        cause and what to set, empty for an arm that learned.
    """
    runs = [run for run in results.ended if run["arm"] == name and run["status"] in DONE]
    if not runs:
        return None
    states = [run_state(results, run) for run in runs]
    counts = Counter(states)
    state = LEARNED if 2 * counts[LEARNED] > len(states) else max(set(states) - {LEARNED}, key=lambda one: counts[one])
    arm = next(arm for arm in results.spec.arms if arm.name == name)
    alike = [run for run, one in zip(runs, states, strict=True) if one == state]
    return {
        "state": state,
        "runs": len(runs),
        "not_learned": len(runs) - counts[LEARNED],
        "sentence": "" if state == LEARNED else _sentence(results, arm, alike, state, len(runs)),
    }


def run_state(results: StudyResults, run: Mapping[str, Any]) -> str:
    """Whether one run learned; for the words see `learning_of`."""
    if run["status"] == "diverged":
        return DIVERGED
    signs = Signs.of(run)
    if signs is not None and signs.final_loss > NEAR_GUESSING:
        return DIVERGED if signs.unstable else NOT_LEARNED
    last, part = run["curve"][-1], results.prepared.part(run.get("part", ""))
    doubtful = (
        last["largest_share"] >= CONSTANT
        or last["validation_loss"] > NEAR_GUESSING * run["guess_loss"]
        or part.sizes["validation"] < FEW_EXAMPLES
    )
    if doubtful and run["test_accuracy"] <= _within_noise_of_guessing(results, part):
        return GUESSING
    return LEARNED


def _within_noise_of_guessing(results: StudyResults, part: PreparedPart) -> float:
    """The test accuracy up to which an arm is no better than the majority class, or than drawing lots."""
    majority = part.baselines["majority"]
    share = max(majority["test_accuracy"], 1 / len(results.prepared.label_names))
    return float(share + NOISE * math.sqrt(share * (1 - share) / len(majority["predictions"])))


def _sentence(results: StudyResults, arm: Method, runs: Sequence[Mapping[str, Any]], state: str, of: int) -> str:
    many = "" if len(runs) == of else f" in {len(runs)} of {of} runs"
    first = runs[0]
    rate, guess = first["learning_rate"], first["guess_loss"]
    trace = [loss for _, loss in first["loss_trace"]]
    if state == GUESSING:
        return (
            f"{arm.name} learned its training examples{many} (training loss {first['curve'][-1]['train_loss']:.2f}, "
            f"where guessing gives {guess:.2f}) and is no better than guessing on other texts: as far as "
            f"{results.prepared.sizes['train']:,} training examples show, the labels do not follow from the texts. "
            "Check that text and label belong together, or train on more."
        )
    start = starting_rate(arm, results.prepared.model_width, first.get("steps") or 1) if arm.starting_rate else None
    if state == DIVERGED:
        lower = f" (about {start:g} is usual for this model)" if start and rate > start else ""
        return (
            f"{arm.name} diverged{many}: its training loss rose from {trace[0]:.2f} to {max(trace):.3g} and did not "
            f"come down again; a learning rate of {rate:g} is too high{lower}. "
            f"{_leave_out(results, arm) or f'Set arms.{arm.name}.learning_rate to a lower one.'}"
        )
    seen = f"its training loss stayed at {_final_loss(first):.2f}, and guessing gives {guess:.2f}"
    return f"{arm.name} did not learn{many}: {seen}. {_why_not(results, arm, first, start)}"


def _final_loss(run: Mapping[str, Any]) -> float:
    """Mean training loss of the last third of the steps, in nats."""
    signs = Signs.of(run)
    assert signs is not None
    return signs.final_loss * float(run["guess_loss"])


def _why_not(results: StudyResults, arm: Method, run: Mapping[str, Any], start: float | None) -> str:
    steps, rate = run["steps"], run["learning_rate"]
    if start is not None and rate < start / FAR and arm.name not in tuned_arms(results.spec):
        return (
            f"A learning rate of {rate:g} is too low: {start:g} is usual for this model and {steps:,} steps. "
            f"{_leave_out(results, arm)}"
        )
    if steps < FEW_STEPS:
        return (
            f"{steps} {'step is' if steps == 1 else 'steps are'} too few: set more training.epochs or a smaller "
            "training.batch_size, or train on more examples."
        )
    if arm.name not in tuned_arms(results.spec):
        return (
            f"Set arms.{arm.name}.learning_rate higher, or leave it out to have it found; or set more training.epochs."
        )
    rates = [trial["learning_rate"] for trial in results.trials if trial["arm"] == arm.name]
    tried = f"None of the learning rates tried ({min(rates):g} to {max(rates):g}) trained it." if rates else ""
    part = results.prepared.part(run.get("part", ""))
    found = part.baselines.get("tfidf")
    if found is None or found["test_accuracy"] <= _within_noise_of_guessing(results, part):
        return (
            f"{tried} TF-IDF finds nothing in these texts either: more training.epochs would show whether the labels "
            "can be learned at all."
        ).strip()
    return (
        f"{tried} TF-IDF reaches {100 * found['test_accuracy']:.1f}%, so there is something to learn: set more "
        "training.epochs."
    ).strip()


def _leave_out(results: StudyResults, arm: Method) -> str:
    """The advice to leave a named rate to tuning."""
    if arm.learning_rate is None:
        return ""
    return f"Leave arms.{arm.name}.learning_rate out to have it found, or set it near that."
