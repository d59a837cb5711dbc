"""Which arm of a study is exported, and which of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.core.names import did_you_mean
from tuneoff.core.texts import in_line
from tuneoff.data.parts import is_fold, part_names, part_words
from tuneoff.records.run import ScoredRun, UnsuccessfulRun
from tuneoff.report.words import score

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


@dataclass(frozen=True)
class ChosenRun:
    """A run that is to be exported.

    Attributes:
        run: its result.
        why: sentences: why this one, and what speaks against it.
    """

    run: ScoredRun
    why: tuple[str, ...]


def choose_run(results: StudyResults, arm: str | None = None, seed: int | None = None) -> ChosenRun:
    """The run of an arm that is to be exported; with folds one of the first fold, with training sizes of the largest.

    Args:
        results: of the study.
        arm: its name; the recommended one when left out.
        seed: of the run; that of the best validation score when left out.

    Raises:
        UserError: where there is no such run that has succeeded.
    """
    name, why = _recommended(results) if arm is None else _named(results, arm)
    part = part_names(results.spec.data)[0]
    ended = [run for run in results.ended if run.arm == name and run.part == part]
    scored = [run for run in ended if isinstance(run, ScoredRun)]
    seeds = results.spec.seeds
    if seed is not None:
        if seed not in seeds:
            raise UserError(f"--seed {seed}: the study's seeds are {in_line([str(one) for one in seeds])}")
        ended = [run for run in ended if run.seed == seed]
        scored = [run for run in scored if run.seed == seed]
    if not scored:
        which = name if seed is None else f"seed {seed} of {name}"
        failed = next((run for run in ended if isinstance(run, UnsuccessfulRun)), None)
        if failed is None:
            raise UserError(f"{which} has not been trained yet; `tuneoff run` goes on with the study")
        raise UserError(f"{which} has no run that succeeded ({failed.status}: {failed.error})")
    best = max(scored, key=lambda run: (run.selected.score, -run.seed))
    if seed is None and len(scored) > 1:
        equals = sum(run.selected.score == best.selected.score for run in scored)
        first = "" if equals == 1 else f"; {equals} seeds have it, of which it is the first"
        metric = results.objective.label
        reached = score(best.selected.score, metric)
        why = (*why, f"Seed {best.seed} has the best validation {metric} of {len(scored)} seeds ({reached}){first}")
    if part:
        rest = "the other folds are models of their own" if is_fold(part) else "the study's largest training size"
        why = (*why, f"It is the run of {part_words(part)}; {rest}")
    return ChosenRun(best, why)


def _recommended(results: StudyResults) -> tuple[str, tuple[str, ...]]:
    recommendation = results.summary.recommendation
    if recommendation.arm is not None:
        return recommendation.arm, (f"{recommendation.arm} is recommended: it is shown to be good enough",)
    now = recommendation.choose_now
    if now is None:
        names = in_line([arm.arm for arm in results.summary.scored_arms])
        if not names:
            raise UserError(f"there is nothing to export yet: no run of {results.folder} has succeeded")
        reason = recommendation.reason.rstrip(".")
        raise UserError(f"the study recommends no arm: {reason}; name one with --arm ({names})")
    likely = "likely to be good enough" if now.likely else "not likely to be good enough either, but nearest to it"
    return now.arm, (f"No arm is shown to be good enough yet; {now.arm} is the one to take now, {likely}",)


def _named(results: StudyResults, name: str) -> tuple[str, tuple[str, ...]]:
    arms = {arm.arm: arm for arm in results.summary.arms}
    if name not in arms:
        raise UserError(f"--arm: the study has no arm '{name}'{did_you_mean(name, arms)}")
    if arms[name].learned:
        return name, ()
    learning = arms[name].learning
    assert learning is not None
    return name, (f"Take care: {name} did not learn its task. {learning.sentence}".rstrip("."),)
