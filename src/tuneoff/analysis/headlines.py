"""Whether fine-tuning was worth it at all: the arms against each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.analysis.against_baselines import AgainstBaseline, against_baseline
from tuneoff.analysis.score_table import ScoreTable, common_scale
from tuneoff.analysis.wording import ACCURACY, better, worse
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.baselines import Baseline
from tuneoff.records.comparison import BaselineVerdict, Headline
from tuneoff.tasks.objectives.accuracy import Accuracy

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.tasks.base import Answers


def compare_with_baselines(
    results: StudyResults, arms: Sequence[ArmSummary], scores: Mapping[str, ScoreTable]
) -> dict[str, list[AgainstBaseline]]:
    """By baseline, each arm that has results against it; nothing where no arm has."""
    scored = [arm.arm for arm in arms if isinstance(arm, ScoredArm)]
    if not scored:
        return {}
    truth, _ = results.answers(scored[0])[0]
    tables = {arm: table.values for arm, table in scores.items()}
    scale = common_scale(results.objective, scores.values())
    return {
        name: against_baseline(
            arms, tables, results.objective.contributions(truth, _judged(results, baseline)).values, scale
        )
        for name, baseline in results.prepared.baselines.items()
    }


def baseline_score(results: StudyResults, baseline: Baseline) -> float | None:
    """The study's objective of a baseline; None where that takes labels, and no arm was tested, which has them."""
    if results.objective is Accuracy:
        return baseline.test_accuracy
    tested = next((arm.name for arm in results.spec.arms if results.of_arm(arm.name)), None)
    if tested is None:
        return None
    return results.objective.value(results.answers(tested)[0][0], _judged(results, baseline))


def _judged(results: StudyResults, baseline: Baseline) -> Answers:
    """What the objective judges of a baseline."""
    return np.asarray(baseline.predictions if results.objective.of == "answers" else baseline.probabilities)


def baseline_headlines(
    labels: Mapping[str, str],
    against: Mapping[str, Sequence[AgainstBaseline]],
    which: str = "",
    metric: str = ACCURACY,
) -> tuple[Headline, ...]:
    """For each baseline, whether an arm beats it; nothing where there is no arm.

    `verdict` is "beaten" where an arm is better beyond the noise (Holm's correction over all arms of the study),
    "not shown" where one has a higher mean, but that is not shown, "not beaten" where none has, and "better" where the
    baseline is better than every arm: all their 95% intervals are below 0. With one seed the test is McNemar's,
    of trained models and not of methods, and the sentence says so.

    Args:
        labels: what each baseline is called.
        against: by baseline, those of what `compare_with_baselines` found that this is about.
        which: of all arms these are, such as " within the limits"; nothing for all.
        metric: what they are compared by.
    """
    headlines = []
    for name, found in against.items():
        if not found:
            continue
        beaten_by = [one for one in found if one.beaten]
        best = max(beaten_by or found, key=lambda one: one.difference.difference.mean)
        label = _in_a_sentence(name, labels[name])
        verdict: BaselineVerdict = "beaten" if beaten_by else _verdict(best, found)
        headlines.append(
            Headline(
                baseline=name,
                label=label,
                arm=best.arm,
                difference=best.difference.difference,
                p_holm=best.p_holm,
                verdict=verdict,
                beaten_by=tuple(one.arm for one in beaten_by),
                sentence=_sentence(verdict, label, best, len(found), which, metric),
            )
        )
    return tuple(headlines)


def _verdict(best: AgainstBaseline, found: Sequence[AgainstBaseline]) -> BaselineVerdict:
    """Of a baseline that no arm beats."""
    if all(one.difference.difference.ci_high < 0 for one in found):
        return "better"
    return "not shown" if best.difference.difference.mean > 0 else "not beaten"


def _sentence(verdict: BaselineVerdict, label: str, best: AgainstBaseline, arms: int, which: str, metric: str) -> str:
    seen = best.difference.difference
    points = f"{100 * seen.mean:+.1f} points, {100 * seen.ci_low:+.1f} to {100 * seen.ci_high:+.1f}"
    if not seen.covers_seeds:
        points += ", with one seed, so of this trained model alone"
    if verdict == "beaten":
        return f"{best.arm} is {better(metric)} than {label} ({points})."
    if verdict == "better":
        every = f"Every arm{which}" if arms > 1 else best.arm
        return f"{every} is {worse(metric)} than {label} ({_named(best, arms)}{points})."
    none = f"No arm{which} is" if arms > 1 else f"{best.arm} is not"
    if seen.ci_low > 0:
        points += f"; not shown after correcting for {arms} arms"
    return f"{none} shown to be {better(metric)} than {label} ({_named(best, arms)}{points})."


def _named(best: AgainstBaseline, arms: int) -> str:
    return f"the best, {best.arm}: " if arms > 1 else ""


def _in_a_sentence(name: str, label: str) -> str:
    """What a baseline is called in a sentence."""
    return f"the {label}" if name == "majority" else label
