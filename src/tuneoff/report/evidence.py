"""What is shown of pairs of arms, of classes and of costs: sentences and table rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.analysis.comparisons import in_points
from tuneoff.analysis.costs import LATENCY
from tuneoff.analysis.wording import ACCURACY, best, better
from tuneoff.core.texts import in_line
from tuneoff.report import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.class_scores import ByClass, ClassScores, Confusion
    from tuneoff.records.comparison import Comparison
    from tuneoff.records.interval import MeanInterval
    from tuneoff.records.summary import Forecast, Summary

PAIR_HEADINGS = ("a", "b", "a - b, points", "95% interval", "p", "p, corrected", "p, sign flips", "to tell them apart")
INTERVALS = "Intervals hold at 95%, over seeds and test examples together (over test examples alone with one seed)."
CLASS_HEADING = "F1 of the class (precision, recall), %"
NAMED_CONFUSIONS = 3
"""Of each arm, in words."""
FORECAST = (
    "Forecasts are of a curve fitted to an arm's training sizes, for more examples of the same kind. Their 95% "
    "intervals also cover which curve it is; where accuracy grows in leaps they hold less often."
)
MOST_CLASSES = 30
"""With a row of their own in the table of classes."""
FRONT_NAMES = {
    "train_seconds": "time to train",
    "peak_train_memory_bytes": "memory in training",
    "trainable_parameters": "trainable parameters",
    "checkpoint_bytes": "checkpoint",
    "device_seconds": "cost of a run",
    "inference_latency_seconds": "time to classify a text",
}


def pairs(summary: Summary) -> list[str]:
    """What each comparison of two arms says, and in one sentence which arms are not compared."""
    said = [pair(comparison) for comparison in _compared(summary)]
    idle = {name for comparison in summary.comparisons for name in comparison.not_learned}
    left_out = [arm.arm for arm in summary.arms if arm.arm in idle]
    if not left_out:
        return said
    them = "it is" if len(left_out) == 1 else "they are"
    return [
        *said,
        f"{in_line(left_out)} did not learn this task, so {them} not compared with {'other' if said else 'any'} arms",
    ]


def _compared(summary: Summary) -> list[Comparison]:
    """The pairs of which both arms learned."""
    return [comparison for comparison in summary.comparisons if not comparison.not_learned]


def pair(comparison: Comparison) -> str:
    """What a comparison of two arms says that have learned."""
    difference = comparison.difference
    low, high = 100 * difference.ci_low, 100 * difference.ci_high
    points = f"{100 * difference.mean:+.1f} points, {low:+.1f} to {high:+.1f}"
    a, b, others = comparison.a, comparison.b, comparison.adjusted_for
    margin = in_points(comparison.non_inferiority.margin) if comparison.non_inferiority is not None else ""
    said = {
        "better": f"{a} is {better(comparison.metric)} than {b}",
        "not shown": f"{a} is ahead of {b}, but not shown to be after correcting for {others} comparisons",
        "tie": f"{a} and {b} are tied: they differ by less than {margin}",
        "not told apart": f"{a} and {b} are not told apart",
        "unranked": f"{a} and {b} are not ranked: one seed cannot tell them apart",
    }[comparison.verdict]
    if comparison.verdict == "not shown":
        points += f"; p = {words.probability(comparison.p_adjusted)} after the correction"
        if comparison.a_is_most_accurate:
            said = (
                f"{a} is {better(comparison.metric)} than {b}, since it is shown to be {best(comparison.metric)} of "
                f"all arms, though not as one of {others} comparisons"
            )
    return f"{said} ({points}){_shown_of_loss(comparison)}"


def _shown_of_loss(comparison: Comparison) -> str:
    """What is shown of the loss with the arm of lower mean; nothing where it is a loss for sure, or unknown."""
    claim = comparison.non_inferiority
    if claim is None or comparison.verdict in ("better", "tie") or comparison.a_is_most_accurate:
        return ""
    loss = max(0.0, -claim.b.lower_bound)
    if claim.b.shown:
        return f"; {comparison.b} is shown to lose less than {in_points(claim.margin)}"
    return f"; {comparison.b} may lose up to {100 * loss:.1f} points"


def pair_rows(summary: Summary) -> list[tuple[str, ...]]:
    """One row a pair of arms that learned, as text in the order of `PAIR_HEADINGS`."""
    return [
        (
            comparison.a,
            comparison.b,
            f"{100 * comparison.difference.mean:+.1f}",
            f"{100 * comparison.difference.ci_low:+.1f} to {100 * comparison.difference.ci_high:+.1f}",
            words.probability(comparison.p_value),
            words.probability(comparison.p_adjusted),
            "" if comparison.p_sign_flip is None else words.probability(comparison.p_sign_flip),
            _needed(comparison),
        )
        for comparison in _compared(summary)
    ]


def _needed(comparison: Comparison) -> str:
    if comparison.needed is None:
        return "more seeds"
    needed = comparison.needed.difference
    if needed is None:
        return "shown"
    if needed.seeds is not None:
        return f"about {needed.seeds} seeds"
    if needed.test_examples is not None:
        return f"about {needed.test_examples:,} test examples"
    if needed.times is not None:
        return f"about {needed.times} times the seeds and test examples"
    return "out of reach"


def quality_headings(summary: Summary) -> tuple[str, ...]:
    """The headings of `quality_rows`."""
    return ("arm", *(heading for heading, _ in _qualities(summary)), "time a text", "texts a second")


def quality_rows(summary: Summary) -> list[tuple[str, ...]]:
    """What else there is of each arm that has results: a row each, as text in the order of `quality_headings`."""
    columns = _qualities(summary)
    return [
        (words.marked(arm), *(write(arm) for _, write in columns), _latency(arm), _throughput(arm))
        for arm in summary.scored_arms
    ]


def _qualities(summary: Summary) -> list[tuple[str, Callable[[ScoredArm], str]]]:
    """What is said of arms of this study's task, by its heading."""

    def metric(name: str, form: str, factor: float = 1.0) -> Callable[[ScoredArm], str]:
        return lambda arm: format(factor * arm.test_metrics[name], form) if name in arm.test_metrics else ""

    def of_class(name: str, form: str, factor: float = 1.0) -> Callable[[ScoredArm], str]:
        return lambda arm: _number(None if arm.by_class is None else getattr(arm.by_class, name), form, factor)

    if summary.data.label_kind == "number":
        shown = [("R²", "r2"), ("Pearson", "pearson"), ("Spearman", "spearman")]
        errors = [("mean absolute error", "mae"), ("root mean squared error", "rmse")]
        return [*((title, metric(name, ".3f")) for title, name in shown), *((e, metric(n, ".4g")) for e, n in errors)]
    calibration: list[tuple[str, Callable[[ScoredArm], str]]] = [
        ("calibration error", lambda arm: _number(arm.expected_calibration_error, ".3f")),
        ("at its temperature", lambda arm: _number(arm.calibrated_error, ".3f")),
        ("Brier score", lambda arm: _number(arm.brier_score, ".3f")),
        ("log loss", metric("log_loss", ".3f")),
        ("AUROC", metric("auroc", ".3f")),
    ]
    if summary.data.label_kind == "labels":
        shares = [("micro F1, %", "micro_f1"), ("macro F1, %", "macro_f1"), ("labels wrong, %", "hamming_loss")]
        return [*((title, metric(name, ".1f", 100)) for title, name in shares), *calibration]
    return [
        ("balanced accuracy, %", of_class("balanced_accuracy", ".1f", 100)),
        ("MCC", of_class("mcc", ".2f")),
        *calibration,
    ]


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "" if value is None else format(factor * value, form)


def _latency(arm: ScoredArm) -> str:
    if arm.inference_latency_seconds is None:
        return ""
    unmerged = words.UNMERGED if arm.adapter_unmerged else ""
    shared = words.SHARED if arm.times_shared else ""
    p95 = arm.inference_latency_p95_seconds
    most = "" if p95 is None else f", 95% below {1000 * p95:.1f}"
    return f"{1000 * arm.inference_latency_seconds:.1f} ms{most}{unmerged}{shared}"


def _throughput(arm: ScoredArm) -> str:
    """Test texts a second, in batches."""
    return "" if arm.inference_texts_per_second is None else f"{arm.inference_texts_per_second:,.0f}"


def class_headings(summary: Summary) -> tuple[str, ...]:
    """The headings of `class_rows`: the class, its test examples, and the arms that have results."""
    by_class = [arm.by_class for arm in summary.scored_arms if arm.by_class is not None]
    chosen = any(scores.threshold is not None for found in by_class for scores in found.classes.values())
    heading = f"{CLASS_HEADING}, and the probability from which it is answered" if chosen else CLASS_HEADING
    return (heading, "examples", *(words.marked(arm) for arm in summary.scored_arms))


def class_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Scores of each class, one row a class; none where there are too many for a page, or no results."""
    labels, arms = summary.data.label_names, summary.scored_arms
    by_class = [arm.by_class.classes for arm in arms if arm.by_class is not None]
    if len(labels) > MOST_CLASSES or not by_class:
        return []
    return [
        (label, f"{by_class[0][label].examples:,}", *(_class_scores(classes[label]) for classes in by_class))
        for label in labels
    ]


def _class_scores(scores: ClassScores) -> str:
    above = "" if scores.threshold is None else f", p > {scores.threshold:.2f}"
    return f"{100 * scores.f1:.1f} ({100 * scores.precision:.0f}, {100 * scores.recall:.0f}){above}"


def confusions(summary: Summary) -> list[str]:
    """What each arm takes most often for what: a sentence an arm."""
    return [
        f"{words.marked(arm)}: {', '.join(_confusion(found, one) for one in found.confusions[:NAMED_CONFUSIONS])}"
        for arm in summary.scored_arms
        if (found := arm.by_class) is not None and found.confusions
    ]


def _confusion(found: ByClass, one: Confusion) -> str:
    of_class = found.classes[one.label].examples
    return f"{one.label} as {one.prediction} ({one.examples:.3g} of {of_class:,})"


def fronts(summary: Summary) -> list[str]:
    """Which arms no other arm is shown to beat: a sentence for each cost, but one for all that leave no arm out.

    Arms that did not learn are no part of it.
    """
    everyone = tuple(arm.arm for arm in summary.scored_arms if arm.learned)
    if len(everyone) < 2:
        return []
    by_cost = {_front_name(summary, cost): names for cost, names in summary.pareto.items()}
    undecided = [cost for cost, names in by_cost.items() if names == everyone]
    sentences = [f"{cost}: {', '.join(names)}" for cost, names in by_cost.items() if names != everyone]
    if undecided:
        costs = ", ".join(undecided) if sentences or len(undecided) == 1 else "every cost"
        which = words.every_arm(summary, everyone)
        sentences.insert(0, f"{costs}: {which}; none is shown to be beaten by one that costs no more")
    return sentences


def _front_name(summary: Summary, cost: str) -> str:
    unmerged = {arm.arm for arm in summary.scored_arms if arm.learned and arm.adapter_unmerged}
    left_out = cost == LATENCY and unmerged and unmerged.isdisjoint(summary.pareto[cost])
    return FRONT_NAMES[cost] + (" (of arms without an unmerged adapter)" if left_out else "")


def curve_headings(summary: Summary) -> tuple[str, ...]:
    """The headings of `curve_rows`: the arm, the training sizes, and twice the largest."""
    curves = summary.learning_curves
    if curves is None:
        return ()
    return ("arm", *(f"{size:,}" for size in curves.train_sizes), f"{2 * curves.train_sizes[-1]:,} (forecast)")


def curve_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Test accuracy at each training size: one row an arm, then one a baseline; none without such sizes."""
    curves = summary.learning_curves
    if curves is None:
        return []
    metric = summary.metric
    rows = [
        (
            arm,
            *("" if point.test_score is None else _with_interval(point.test_score, metric) for point in points),
            "" if (forecast := curves.forecasts[arm].test_score) is None else _with_interval(forecast, metric),
        )
        for arm, points in curves.arms.items()
    ]
    labels = {baseline.baseline: baseline.label for baseline in summary.baselines}
    for baseline, scores in curves.baselines.items():
        found = {score.train_size: words.score(score.test_score, metric) for score in scores}
        rows.append((f"baseline: {labels[baseline]}", *(found.get(size, "") for size in curves.train_sizes), ""))
    return rows


def forecasts(summary: Summary) -> list[str]:
    """What twice the labels would bring: a sentence an arm; none without training sizes."""
    if summary.learning_curves is None:
        return []
    return [_forecast(arm, forecast) for arm, forecast in summary.learning_curves.forecasts.items()]


def _forecast(arm: str, forecast: Forecast) -> str:
    accuracy, gain, size = forecast.test_score, forecast.gain, forecast.train_size
    if accuracy is None or gain is None:
        return f"{arm}: what twice the labels ({size:,}) would bring cannot be told: {forecast.why_not}"
    return (
        f"{arm}: twice the labels ({size:,}) would bring {100 * gain.mean:+.1f} points "
        f"({100 * gain.ci_low:+.1f} to {100 * gain.ci_high:+.1f}), to {_with_interval(accuracy, ACCURACY)}"
    )


def _with_interval(accuracy: MeanInterval, metric: str) -> str:
    return f"{words.score(accuracy.mean, metric)} ({100 * accuracy.ci_low:.1f} to {100 * accuracy.ci_high:.1f})"
