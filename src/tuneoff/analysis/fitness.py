"""Which arms can be named by a recommendation at all: those that learned, and beat the majority class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.records.arm_summary import ArmSummary, ScoredArm

if TYPE_CHECKING:
    from tuneoff.analysis.against_baselines import AgainstBaseline


MAJORITY = "the majority class"


@dataclass(frozen=True)
class Unfit:
    """Why an arm cannot be named; `learned` is whether it learned its training data, `guess` what it does not beat."""

    why: str
    learned: bool
    guess: str = MAJORITY


def unfit_arms(
    arms: Sequence[ArmSummary], against_majority: Sequence[AgainstBaseline], guess: str = MAJORITY
) -> dict[str, Unfit]:
    """The arms that no recommendation names and that none is compared with, by name.

    Args:
        arms: of the summary.
        against_majority: each arm against the baseline of the majority class; empty where there is no such baseline.
        guess: what that baseline is called.
    """
    unfit = {
        arm.arm: Unfit(_of_it(arm.arm, arm.learning.sentence), learned=False, guess=guess)
        for arm in arms
        if isinstance(arm, ScoredArm) and arm.learning is not None and not arm.learned
    }
    for found in against_majority:
        if found.arm not in unfit and not found.beaten:
            seen = found.difference.difference
            points = f"{100 * seen.mean:+.1f} points, {100 * seen.ci_low:+.1f} to {100 * seen.ci_high:+.1f}"
            how = f"is not shown to beat {guess} after correcting for all arms"
            if seen.ci_high < 0:
                how = f"does worse than {guess}"
            unfit[found.arm] = Unfit(f"it {how} ({points})", learned=True, guess=guess)
    return unfit


def _of_it(arm: str, sentence: str) -> str:
    """A sentence about an arm as it continues one that has named the arm."""
    said = sentence.rstrip(".")
    return f"it {said.removeprefix(f'{arm} ')}" if said.startswith(f"{arm} ") else said


def none_is_fit(unfit: Mapping[str, Unfit]) -> str:
    """What is said where no arm is left."""
    guess = guess_of(unfit)
    learned = [arm for arm, found in unfit.items() if found.learned]
    if not learned:
        return "No arm learned this task, so none can be named."
    if len(learned) == len(unfit):
        return f"No arm is shown to beat {guess}, so none can be named."
    others = [arm for arm in unfit if arm not in learned]
    return (
        f"No arm can be named: {_listed(others)} did not learn this task, and {_listed(learned)} "
        f"{'is' if len(learned) == 1 else 'are'} not shown to beat {guess}."
    )


def guess_of(unfit: Mapping[str, Unfit]) -> str:
    """What arms must beat, in a sentence."""
    return next((found.guess for found in unfit.values()), MAJORITY)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
