"""Arms that learned, and would probably have learned more: what shows it, and what to set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.data.audit.noticed import listed, named, plural
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.run import ScoredRun

if TYPE_CHECKING:
    import pandas as pd

    from tuneoff.analysis.results import StudyResults

FEWEST_PIECES = 20
"""Of a training loss, of which the last two fifths are compared."""
STEEP_FALL = 0.1
"""Of the loss of guessing, by which the loss of the last fifth of the steps is below that of the fifth before."""
LITTLE_LEFT = 0.25
"""Of the loss of guessing: a training loss below it leaves little to learn."""
BEYOND_NOISE = 2.0
"""Standard errors of the difference that it must have, by the spread of the pieces."""
FEWEST_EXAMPLES = 5
"""Test examples of a class that an arm must never answer for it to be said."""
MOST_NAMED = 3
RARE = 0.5
"""Of an even share: a class with a smaller one is rare."""


@dataclass(frozen=True)
class NeverAnswered:
    """Classes that are never answered.

    Attributes:
        classes: their names and numbers of test examples, in words.
        rare: whether one of them is.
    """

    classes: str
    rare: bool


def underfitting_notes(results: StudyResults, arms: Sequence[ArmSummary]) -> list[str]:
    """At most one sentence a kind, about arms of the summary in which most runs learned.

    A training loss that falls steeply at the end, while validation gets no worse, is one kind; classes with test
    examples that no run of an arm ever answers are the other.
    """
    learned = [arm.arm for arm in arms if isinstance(arm, ScoredArm) and arm.learned]
    return [*_still_falling(results, learned), *_never_answered(results, learned)]


def _still_falling(results: StudyResults, names: Sequence[str]) -> list[str]:
    told = []
    for name in names:
        falls = [_fall(run) for run in results.runs if isinstance(run, ScoredRun) and run.arm == name]
        known = [fall for fall in falls if fall is not None]
        if known and len(known) == len(falls):
            before, after = np.mean(known, axis=0)
            told.append(f"{name} (from {before:.2f} to {after:.2f})")
    if not told:
        return []
    named_rates = any(arm.learning_rate is not None for arm in results.spec.arms if arm.name in names)
    higher = ", or a higher learning rate," if named_rates else ""
    return [
        f"The training loss was still falling steeply over the last two fifths of the steps: {listed(told)}. More "
        f"training.epochs{higher} may well give a higher accuracy."
    ]


def _fall(run: ScoredRun) -> tuple[float, float] | None:
    """A run's mean training losses of the last two fifths of its steps where they fall steeply, or None."""
    guess, curve = run.guess_loss, run.curve
    trace = [(step, loss) for step, loss in run.loss_trace if loss is not None]
    if not guess or len(trace) < max(FEWEST_PIECES, len(run.loss_trace)):
        return None
    if len(curve) > 1 and curve[-1].validation_loss > curve[-2].validation_loss:
        return None  # more of the same would only fit the training examples better
    end = trace[-1][0]
    before = np.array([loss for step, loss in trace if 0.6 * end < step <= 0.8 * end])
    after = np.array([loss for step, loss in trace if step > 0.8 * end])
    noise = math.sqrt(before.var(ddof=1) / len(before) + after.var(ddof=1) / len(after))
    fall = before.mean() - after.mean()
    if fall < max(STEEP_FALL * guess, BEYOND_NOISE * noise) or after.mean() < LITTLE_LEFT * guess:
        return None
    return float(before.mean()), float(after.mean())


def never_answered(results: StudyResults, frames: Sequence[pd.DataFrame]) -> NeverAnswered | None:
    """Classes with test examples that some predictions never give; None where there is none.

    Args:
        results: the study.
        frames: predictions of runs with the same test examples: columns `label` and `prediction`.
    """
    classes = results.prepared.label_names
    found = [results.answers_of(frame) for frame in frames]
    labels = results.task.counts(found[0][0], len(classes))
    if labels is None:
        return None
    counted = [results.task.counts(said, len(classes)) for _, said in found]
    answers = np.sum([one for one in counted if one is not None], axis=0)
    never = np.flatnonzero((labels >= FEWEST_EXAMPLES) & (answers == 0))
    if not len(never):
        return None
    shown = [f"{named(classes[label])} ({labels[label]:,} test examples)" for label in never[:MOST_NAMED]]
    more = [f"{len(never) - MOST_NAMED} more"] if len(never) > MOST_NAMED else []
    rare = bool((labels[never] < RARE * labels.sum() / len(classes)).any())
    return NeverAnswered(listed([*shown, *more]), rare)


def _never_answered(results: StudyResults, names: Sequence[str]) -> list[str]:
    arms_of: dict[str, list[str]] = {}
    rare = False
    for name in names:
        found = never_answered(results, results.predictions(name))
        if found is not None:
            arms_of.setdefault(found.classes, []).append(name)
            rare = rare or found.rare
    if not arms_of:
        return []
    told = [f"{listed(arms)} never {plural(len(arms), 'answers', 'answer')} {never}" for never, arms in arms_of.items()]
    advice = "More training.epochs or a higher learning rate may help"
    if rare:
        advice += ", and more training examples of such rare classes"
        if results.spec.training.class_weights is None:
            advice += " or training.class_weights = 'balanced'"
    return [f"{'; '.join(told)}. {advice}."]
