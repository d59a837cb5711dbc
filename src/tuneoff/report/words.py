"""Numbers as people read them, and the sentences and table rows that every format shares."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.analysis.wording import ACCURACY as ACCURACY
from tuneoff.analysis.wording import better
from tuneoff.analysis.wording import by_metric as by_metric  # for templates
from tuneoff.data.parts import WHOLE, part_words
from tuneoff.records.arm_summary import ScoredArm
from tuneoff.report import energy_words

if TYPE_CHECKING:
    from tuneoff.records.arm_summary import ArmSummary
    from tuneoff.records.money import Money
    from tuneoff.records.recommendation import Recommendation
    from tuneoff.records.summary import Summary

SHARED = " (shared)"
"""Marks a time that was taken while other runs computed on the same device."""
STATES = {
    "not learned": "did not learn",
    "diverged": "diverged",
    "no better than guessing": "no better than guessing",
}
"""What is said of an arm's state of learning, beside its accuracy."""
UNMERGED = " (unmerged)"
"""Marks a time to classify a text with an adapter beside the weights, which merging would make faster."""
DID_NOT_LEARN = " †"
"""Stands beside the accuracy of an arm of which a run did not learn, and is explained below the table."""
MEANINGLESS = " (means nothing)"
"""Marks an accuracy on data that the audit would have stopped."""


def accepted_errors(summary: Summary) -> list[str]:
    """Names of the audit's errors that the study was told to go on with; its accuracies mean nothing then."""
    return sorted({finding.name for finding in summary.audit if finding.accepted and finding.severity == "error"})


def verdict(summary: Summary) -> str:
    """The study's answer in a sentence or two."""
    meaningless = accepted_errors(summary)
    if meaningless:
        names = ", ".join(meaningless)
        return f"These accuracies mean nothing: the study was told to go on in spite of what its audit found ({names})."
    left = summary.runs.planned - summary.runs.done
    unfinished = f" {left} of {summary.runs.planned} runs are not done yet." if left else ""
    better, doubts = _baselines(summary.recommendation)
    said = answer(summary.recommendation)
    if better and summary.recommendation.arm is not None:
        said = f"Of the arms, {said[0].lower()}{said[1:]}"
    return " ".join([*better, said, *doubts]) + unfinished


def answer(recommendation: Recommendation) -> str:
    """A recommendation in sentences, the first of which says what to do."""
    reason, now = recommendation.reason, recommendation.choose_now
    if recommendation.arm is not None:
        return f"Use {recommendation.arm}: {reason[0].lower()}{reason[1:]}"
    if now is None:
        return f"No recommendation. {reason}"
    why, _, further = reason.rstrip(".").partition(". ")
    said = f"{why}; if you must choose now, take {now.arm}. {now.sentence}"
    if not further:
        return said
    if now.wrong_rate:
        return f"{said[:-1]}; {further[0].lower()}{further[1:]}."
    return f"{said} {further}."


def _baselines(recommendation: Recommendation) -> tuple[list[str], list[str]]:
    """What is to be said of baselines before a recommendation, and after it.

    First of all, which one to use where it is better than every arm. After it, which ones the arm that is named is not
    shown to beat; where none is named, what is seen of the arms that are left.
    """
    now = recommendation.choose_now
    named = recommendation.arm or (now.arm if now is not None else None)
    first, after = [], []
    for headline in recommendation.headlines:
        if named in headline.beaten_by or (named is None and headline.baseline == "majority"):
            continue
        if headline.verdict == "better":
            first.append(f"Use {headline.label}, or train for longer. {headline.sentence}")
        elif headline.verdict == "beaten" and named is not None:
            after.append(
                f"{headline.arm} is shown to be {better(recommendation.metric)} than {headline.label}, {named} is not."
            )
        else:
            after.append(headline.sentence)
    return first, after


def headings(summary: Summary) -> tuple[str, ...]:
    """Those of the result table."""
    beside = "macro F1" if summary.metric == ACCURACY else "accuracy"
    if summary.data.label_kind == "number":
        beside = "mean error"
    costs = ("train time", "peak memory", "trainable", "checkpoint", *(["cost a run"] if summary.money else []))
    return ("arm", f"test {summary.metric}", "95% interval", beside, *costs, *energy_words.headings(summary))


def score(value: float, metric: str) -> str:
    """A value of the metric that a study goes by: accuracy in percent, others times 100."""
    return percent(value) if metric == ACCURACY else f"{100 * value:.1f}"


def axis(split: str, metric: str) -> str:
    """The title of an axis of that metric."""
    return f"{split} {metric}, %" if metric == ACCURACY else f"{split} {metric} × 100"


def rows(summary: Summary) -> list[tuple[str, ...]]:
    """The result table: one row an arm in the study's order, then the baselines, as text in the order of `headings`."""
    table = []
    columns = len(headings(summary))
    doubt = MEANINGLESS if accepted_errors(summary) else ""
    for arm in summary.arms:
        name = arm.arm if not arm.failed else f"{arm.arm} ({len(arm.failed)} failed)"
        if not isinstance(arm, ScoredArm):
            status = arm.failed[0].status if arm.failed else "not run yet"
            table.append((name, status, *[""] * (columns - 2)))
            continue
        interval = arm.test_score
        table.append(
            (
                name,
                score(interval.mean, summary.metric) + doubt + learning_mark(arm),
                f"{100 * interval.ci_low:.1f} to {100 * interval.ci_high:.1f}",
                _beside(arm, summary.metric),
                duration(arm.train_seconds) + (SHARED if arm.times_shared else ""),
                megabytes(arm.peak_train_memory_bytes),
                f"{arm.trainable_parameters:,}",
                megabytes(arm.checkpoint_bytes),
                *([amount(summary.money.arms[arm.arm].run or 0.0, summary.money)] if summary.money else []),
                *energy_words.cells(arm, summary),
            )
        )
    for baseline in summary.baselines:
        table.append(
            (f"baseline: {baseline.label}", score(baseline.test_score, summary.metric) + doubt, *[""] * (columns - 2))
        )
    return table


def amount(money: float, of: Money) -> str:
    """An amount of money, with its currency: cents of large ones, two digits of small ones."""
    number = f"{money:,.2f}" if money >= 1 else f"{money:.2g}"
    return f"{number} {of.currency}".strip()


def below_table(summary: Summary) -> list[str]:
    """The lines that stand below the result table."""
    return [*marks(summary), *spent(summary), *energy_words.explained(summary)]


def spent(summary: Summary) -> list[str]:
    """What the study cost, in a sentence; none where it names no price."""
    money = summary.money
    if money is None:
        return []
    of_trials = f", of which tuning {amount(money.trials, money)}" if money.trials else ""
    shared = any(arm.times_shared for arm in summary.scored_arms)
    several = any(arm.conditions.get("devices", "1") != "1" for arm in summary.scored_arms)
    return [
        f"The study cost {amount(money.study, money)}{of_trials}, at {amount(money.price_per_hour, money)} an hour: "
        f"the time of each run's process that came to its end{', for each of its GPUs' if several else ''}"
        f"{'; runs that shared a device count for as long as they took' if shared else ''}."
    ]


def _beside(arm: ScoredArm, metric: str) -> str:
    """What stands beside the objective: macro F1, accuracy, or the mean absolute error of numbers."""
    if arm.test_accuracy is None or arm.test_macro_f1 is None:
        return f"{arm.test_metrics['mae']:.4g}"
    return f"{100 * arm.test_macro_f1:.1f}" if metric == ACCURACY else percent(arm.test_accuracy.mean)


def learning_mark(arm: ArmSummary) -> str:
    """What stands beside the accuracy of an arm that did not learn, or not in all of its runs."""
    return DID_NOT_LEARN if arm.learning is not None and arm.learning.not_learned else ""


def marked(arm: ArmSummary) -> str:
    """An arm's name, with that mark."""
    return f"{arm.arm}{learning_mark(arm)}"


def marks(summary: Summary) -> list[str]:
    """What the mark of each arm says, in a line that stands below a table; none where there is no mark."""
    said: dict[str, list[str]] = {}
    for arm in summary.scored_arms:
        if (learning := arm.learning) is not None and learning.not_learned:
            state = STATES["not learned" if learning.state == "learned" else learning.state]
            some = learning.not_learned < learning.runs
            runs = f" ({learning.not_learned} of {learning.runs} runs)" if some else ""
            said.setdefault(state, []).append(f"{arm.arm}{runs}")
    groups = "; ".join(f"{state}: {', '.join(arms)}" for state, arms in said.items())
    return [f"{DID_NOT_LEARN.strip()} {groups}."] if said else []


def did_not_learn(summary: Summary) -> list[str]:
    """One sentence for each arm that did not learn: how it is known, why, and what to set."""
    return [arm.learning.sentence for arm in summary.arms if arm.learning is not None and arm.learning.sentence]


def unsaid(summary: Summary) -> list[str]:
    """Of these sentences those that the verdict does not hold already, as it does of the only arm that has results."""
    reason = summary.recommendation.reason
    found = {arm.learning.sentence: arm.arm for arm in summary.arms if arm.learning is not None}
    return [said for said in did_not_learn(summary) if said.removeprefix(f"{found[said]} ").rstrip(".") not in reason]


def every_arm(summary: Summary, names: Sequence[str]) -> str:
    """Several arms of a study, all of those that something can be said of, in the middle of a sentence."""
    scored = [arm.arm for arm in summary.scored_arms]
    which = "" if len(names) == len(summary.arms) else " that have results"
    if len(names) < len(scored):
        which = " that learned"
    return f"{'both' if len(names) == 2 else f'all {len(names)}'} arms{which}"


def failures(summary: Summary) -> list[str]:
    """One line for each failed run."""
    return [
        f"{arm.arm}, seed {failure.seed}{_of_part(failure.part)}: {failure.status}: {failure.error}"
        for arm in summary.arms
        for failure in arm.failed
    ]


def _of_part(part: str) -> str:
    return f", {part_words(part)}" if part != WHOLE else ""


def excluded(summary: Summary) -> list[str]:
    """One line for each arm that the recommendation leaves out."""
    return [f"{left_out.arm} is left out, since {left_out.why}." for left_out in summary.recommendation.excluded]


def conditions(summary: Summary) -> str:
    """What was trained on what, where."""
    sizes = summary.data.sizes
    seeds = len(summary.seeds)
    folds = f", each example tested in one of {summary.data.folds} folds" if summary.data.folds else ""
    where = ""
    if summary.scored_arms:
        first = summary.scored_arms[0]
        where = f" on {first.device}, {first.precision}, {first.engine['batches']} batches"
    return (
        f"{summary.model}, {sizes['train']:,} training, {sizes['validation']:,} validation and "
        f"{sizes['test']:,} test examples{folds}, {seeds} seed{'s' if seeds > 1 else ''} an arm{where}."
    )


def repeating(folder: Path) -> str:
    """The command that carries a study out again, to be given to a shell as it is."""
    return shlex.join(["tuneoff", "run", str(folder / "study.toml"), "--out", str(folder)])


def memory_columns(summary: Summary) -> dict[str, str]:
    """The fields of memory that say something of this study's arms, and what they are called.

    What the allocator held is left out where it is what was allocated, as it always is on a CPU.
    """
    columns = {"peak_train_memory_bytes": "peak in training", "peak_eval_memory_bytes": "peak in evaluation"}
    if any(
        arm.memory_kind == "cuda_allocated" and arm.peak_reserved_memory_bytes != arm.peak_train_memory_bytes
        for arm in summary.scored_arms
    ):
        columns["peak_reserved_memory_bytes"] = "reserved in training"
    return columns


def probability(value: float) -> str:
    """A p-value with two digits, never as 0."""
    return f"{value:.2g}" if value >= 0.0001 else "below 0.0001"


def percent(value: float) -> str:
    """A value from 0 to 1 as a percentage with one decimal."""
    return f"{100 * value:.1f}%"


def duration(seconds: float) -> str:
    """Seconds as `12.3 s`, or `2 min 05 s` from two minutes on."""
    return f"{seconds:.1f} s" if seconds < 120 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def megabytes(value: float) -> str:
    """Bytes as megabytes (10^6)."""
    digits = 0 if value >= 1e7 else 2 if value >= 1e4 else 4
    return f"{value / 1e6:,.{digits}f} MB"
