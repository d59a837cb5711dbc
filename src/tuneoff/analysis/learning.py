"""Did it learn? An arm that did not is marked wherever its accuracy stands, with the cause and what to set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from tuneoff.analysis.comparable import main_parts
from tuneoff.core.texts import in_line
from tuneoff.records.learning import Learning, LearningState
from tuneoff.records.run import DivergedRun, ScoredRun
from tuneoff.study.rates import starting_rate, two_digits
from tuneoff.study.search import Trial
from tuneoff.study.store import Store
from tuneoff.study.tuning import tuned_arms
from tuneoff.training.signs import NEAR_GUESSING, Signs

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.prepared import PreparedPart
    from tuneoff.spec.arms import ArmSpec

Ended = ScoredRun | DivergedRun
"""A run that has told whether it learned."""
LEARNED: Final = "learned"
NOT_LEARNED: Final = "not learned"
DIVERGED: Final = "diverged"
GUESSING: Final = "no better than guessing"
CONSTANT = 0.99
"""From this share of validation examples with the same answer on, predictions are constant."""
NOISE = 2.0
"""Standard errors above the majority class within which an accuracy is no better than it."""
HALF = 0.5
"""Of guessing's errors: a run that makes fewer on test has learned, however unsure its training loss was of it."""
FEW_EXAMPLES = 50
"""A validation loss over fewer says little; then the test split alone tells whether anything was learned. With class
weights it does not: an arm that gets rare classes right may have more errors than the majority class."""
FEW_STEPS = 50
FAR = 5
"""Times lower or higher than the starting rate: then a named rate is the likely cause."""


def learning_of(results: StudyResults, name: str) -> Learning | None:
    """Whether an arm learned; None where no run of it has ended.

    By the runs that its accuracy stands on: those of all folds, or of the largest training size.
    """
    parts = main_parts(results)
    runs = [
        run
        for run in results.runs
        if isinstance(run, ScoredRun | DivergedRun) and run.arm == name and run.part in parts
    ]
    if not runs:
        return None
    states = [run_state(results, run) for run in runs]
    counts = Counter(states)
    others = [one for one in counts if one != LEARNED]  # in the order of runs, which decides between equals
    state = LEARNED if 2 * counts[LEARNED] > len(states) else max(others, key=lambda one: counts[one])
    arm = next(arm for arm in results.spec.arms if arm.name == name)
    alike = [run for run, one in zip(runs, states, strict=True) if one == state]
    return Learning(
        state=state,
        runs=len(runs),
        not_learned=len(runs) - counts[LEARNED],
        sentence="" if state == LEARNED else _sentence(results, arm, alike, state, len(runs), counts[LEARNED] > 0),
    )


def run_state(results: StudyResults, run: Ended) -> LearningState:
    """Whether one run learned."""
    if isinstance(run, DivergedRun):
        return DIVERGED
    signs = Signs.of(run)
    last, part = run.selected, results.prepared.part(run.part)
    if signs is not None and signs.final_loss > NEAR_GUESSING and not _is_right_all_the_same(results, run, part):
        return DIVERGED if signs.unstable else NOT_LEARNED
    doubtful = (
        last.largest_share >= CONSTANT
        or last.validation_loss > NEAR_GUESSING * _guess(run)
        or (part.sizes["validation"] < FEW_EXAMPLES and results.spec.training.class_weights is None)
    )
    return GUESSING if doubtful and _is_guessing(results, run, part) else LEARNED


def _is_guessing(results: StudyResults, run: ScoredRun, part: PreparedPart) -> bool:
    """Whether a run is no better on test than one answer for all texts, within noise."""
    if run.test_accuracy is not None and results.task.kind == "class":
        return run.test_accuracy <= _within_noise_of_guessing(results, part)
    truth, answers = results.answers_of(Store(results.folder).predictions(run.run_id))
    return results.task.is_guessing(truth, answers, np.asarray(part.baselines["majority"].predictions))


def _guess(run: Ended) -> float:
    """The loss of guessing, in nats; results that were stored before it was have none."""
    return math.nan if run.guess_loss is None else run.guess_loss


def _is_right_all_the_same(results: StudyResults, run: ScoredRun, part: PreparedPart) -> bool:
    """Whether a run that learned only in its last steps makes less than half of guessing's errors on test."""
    if run.test_accuracy is None or results.task.kind != "class":
        return False
    guessing = _accuracy_of_guessing(results, part)
    right = run.test_accuracy > max(1 - HALF * (1 - guessing), _within_noise_of_guessing(results, part))
    return bool(right and run.selected.largest_share < CONSTANT)


def _within_noise_of_guessing(results: StudyResults, part: PreparedPart) -> float:
    """The test accuracy up to which an arm is no better than the majority class, or than drawing lots."""
    guessing = _accuracy_of_guessing(results, part)
    return guessing + NOISE * math.sqrt(guessing * (1 - guessing) / len(part.baselines["majority"].predictions))


def _accuracy_of_guessing(results: StudyResults, part: PreparedPart) -> float:
    """The test accuracy of guessing: that of the majority class, or of drawing lots where that is higher."""
    majority = part.baselines["majority"].test_accuracy
    assert majority is not None
    return float(max(majority, 1 / len(results.prepared.label_names)))


def _sentence(
    results: StudyResults, arm: ArmSpec, runs: Sequence[Ended], state: LearningState, of: int, others_learned: bool
) -> str:
    many = "" if len(runs) == of else f" in {len(runs)} of {of} runs"
    first = runs[0]
    guess = _guess(first)
    if state == GUESSING and isinstance(first, ScoredRun):
        return (
            f"{arm.name} learned its training examples{many} (training loss {first.curve[-1].train_loss:.2f}, "
            f"where guessing gives {guess:.2f}) and is no better than guessing on other texts: as far as "
            f"{results.prepared.sizes['train']:,} training examples show, the labels do not follow from the texts. "
            "Check that text and label belong together, or train on more."
        )
    start = starting_rate(arm, results.prepared.model_width, first.steps or 1) if arm.starting_rate else None
    if state == DIVERGED:
        return f"{arm.name} diverged{many}: {_why_diverged(results, arm, first, start)}"
    seen = f"its training loss stayed at {_final_loss(first):.2f}, and guessing gives {guess:.2f}"
    near_the_edge = others_learned and first.steps >= FEW_STEPS and (start is None or first.learning_rate >= start)
    why = _why_some(arm, first) if near_the_edge else _why_not(results, arm, first, start)
    return f"{arm.name} did not learn{many}: {seen}. {why}"


def _why_diverged(results: StudyResults, arm: ArmSpec, run: Ended, start: float | None) -> str:
    rate = run.learning_rate
    losses = [loss for _, loss in run.loss_trace]
    known = [loss for loss in losses if loss is not None]
    usual = start is not None and rate > start
    if not known and (start is None or rate <= FAR * start):
        return (
            f"its training loss was no number from the beginning, at a learning rate of {rate:g}, which is not high "
            "for this model. Check that the model's weights are all numbers (a training of its own may have diverged), "
            "or set training.precision = 'fp32'."
        )
    rose = "was no number from the beginning" if not known else f"rose from {known[0]:.2f} to {max(known):.3g}"
    if known and len(known) < len(losses):
        rose = f"began at {known[0]:.2f} and then was no number any more"
    elif known:
        rose += " and did not come down again"
    lower = f" (about {start:g} is usual for this model)" if usual else ""
    return (
        f"its training loss {rose}; a learning rate of {rate:g} is too high{lower}. "
        f"{_leave_out(results, arm) or f'Set arms.{arm.name}.learning_rate to a lower one.'}"
    )


def _final_loss(run: Ended) -> float:
    """Mean training loss of the last third of the steps, in nats."""
    signs = Signs.of(run)
    assert signs is not None
    return signs.final_loss * _guess(run)


def _why_not(results: StudyResults, arm: ArmSpec, run: Ended, start: float | None) -> str:
    steps, rate = run.steps, run.learning_rate
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
    part = results.prepared.part(run.part)
    trials = [trial for trial in results.trials if trial.arm == arm.name and trial.part == run.part]
    rates = [trial.learning_rate for trial in trials]
    tried = f"None of the learning rates tried ({min(rates):g} to {max(rates):g}) trained it." if rates else ""
    learned = [found.rate for found in (Trial.of(run.learning_rate, [run]) for run in trials) if found.learned]
    if learned:
        tried = (
            f"Trials of {in_line([f'{each:g}' for each in sorted(set(learned))])} learned, with another seed or length."
        )
    found = part.baselines.get("tfidf")
    if results.task.kind != "class":
        return f"{tried} Set more training.epochs.".strip()
    if found is None or found.test_accuracy is None or found.test_accuracy <= _within_noise_of_guessing(results, part):
        return (
            f"{tried} TF-IDF finds nothing in these texts either: more training.epochs would show whether the labels "
            "can be learned at all."
        ).strip()
    return (
        f"{tried} TF-IDF reaches {100 * found.test_accuracy:.1f}%, so there is something to learn: set more "
        "training.epochs."
    ).strip()


def _why_some(arm: ArmSpec, run: Ended) -> str:
    """Of an arm that learned with other seeds, at the same learning rate."""
    rate = run.learning_rate
    return (
        f"It did with other seeds, so that a learning rate of {rate:g} is near the edge of what trains it: set "
        f"arms.{arm.name}.learning_rate to about {two_digits(rate / 2):g}, or more training.epochs."
    )


def _leave_out(results: StudyResults, arm: ArmSpec) -> str:
    """The advice to leave a named rate to tuning."""
    if arm.learning_rate is None:
        return ""
    return f"Leave arms.{arm.name}.learning_rate out to have it found, or set it near that."
