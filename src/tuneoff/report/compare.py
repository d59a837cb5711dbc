"""Studies side by side, in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from tuneoff.analysis.comparisons import in_points
from tuneoff.report.grid import fitting_table
from tuneoff.report.terminal import print_lines, wide_console
from tuneoff.report.words import DID_NOT_LEARN, duration, megabytes, percent

if TYPE_CHECKING:
    from tuneoff.records.compared import ArmPair, ComparedStudies, CostsOfBoth, StudiesDifference, StudyComparison

COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "train_seconds": ("train time", duration),
    "inference_latency_seconds": ("latency", lambda value: f"{1000 * value:.3g} ms"),
    "peak_train_memory_bytes": ("peak memory", megabytes),
    "trainable_parameters": ("trainable", lambda value: f"{value:,}"),
    "checkpoint_bytes": ("checkpoint", megabytes),
}
VERDICTS = {
    "a": "{a} is more accurate",
    "b": "{b} is more accurate",
    "not shown": "not shown after correcting for all pairs",
    "tie": "they differ by less than {margin}",
    "not told apart": "not told apart",
    "unranked": "one seed: not ranked",
}


def print_comparison(compared: ComparedStudies) -> None:
    """What differs, then accuracies, costs and the whole."""
    console = wide_console()
    print_lines(f"{study.name}  {study.folder}: {study.study}, {study.model}" for study in compared.studies)
    comparisons = compared.comparisons
    print_lines(
        f"different: {found.setting}: {found.a} in {comparison.a}, {found.b} in {comparison.b}"
        for comparison in comparisons
        for found in comparison.differences
    )
    if any(comparison.pairs for comparison in comparisons):
        _print_accuracies(console, comparisons)
        _print_costs(console, comparisons)
    # A note may be about several comparisons.
    print_lines(dict.fromkeys(line for comparison in comparisons for line in comparison_lines(comparison)))


def comparison_lines(comparison: StudyComparison) -> list[str]:
    """What is to be said of a comparison beside the tables, in sentences."""
    a, b = comparison.a, comparison.b
    lines = []
    for pair in comparison.pairs:
        lines += [
            f"{_name(pair)}: {found.setting} is {found.a} in {a}, {found.b} in {b}." for found in pair.differences
        ]
    left_out: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        for cost, why in pair.left_out.items():
            named = left_out.setdefault(why, [])
            if COSTS[cost][0] not in named:
                named.append(COSTS[cost][0])
    lines += [f"Not compared, {b} with {a}: {', '.join(costs)}; {why}." for why, costs in left_out.items()]
    for name, arms in ((a, comparison.only_in_a), (b, comparison.only_in_b)):
        if arms:
            lines.append(f"Only in {name}{f', not in {b}' if name == a else ''}: {', '.join(arms)}.")
    overall = comparison.overall
    if overall is not None:
        ratios = [f"{COSTS[cost][0]} x {ratio:.2f}" for cost, ratio in overall.cost_ratios.items()]
        count = f"{overall.arms} arm{'s' if overall.arms > 1 else ''}"
        without = f", without {', '.join(overall.left_out)}" if overall.left_out else ""
        said = "; ".join([_difference(overall, comparison), *ratios])
        lines.append(f"Overall ({count}{without}), {b} against {a}: {said}.")
    best = comparison.best
    if best is not None and best.test_accuracy is not None:
        lines.append(
            f"Most accurate arms, {best.arm_b} in {b} against {best.arm_a} in {a}: "
            f"{_difference(best.test_accuracy, comparison)}."
        )
    return [*lines, *comparison.notes]


def _name(pair: ArmPair) -> str:
    return pair.arm_a if pair.arm_a == pair.arm_b else f"{pair.arm_a} / {pair.arm_b}"


def _difference(found: StudiesDifference, comparison: StudyComparison) -> str:
    if found.verdict == "not learned":
        return "not compared"
    seen = found.difference
    names = {"a": comparison.a, "b": comparison.b, "margin": in_points(comparison.margin)}
    verdict = f" ({VERDICTS[found.verdict].format(**names)})" if found.verdict is not None else ""
    return f"{100 * seen.mean:+.1f} points, {100 * seen.ci_low:+.1f} to {100 * seen.ci_high:+.1f}{verdict}"


def _in_order(comparisons: Sequence[StudyComparison]) -> list[tuple[StudyComparison, ArmPair]]:
    """Each pair with its comparison: the pairs of an arm of the first study together, arms in its order."""
    found = [(comparison, pair) for comparison in comparisons for pair in comparison.pairs]
    arms = list(dict.fromkeys(pair.arm_a for _, pair in found))
    return sorted(found, key=lambda item: arms.index(item[1].arm_a))


def _print_accuracies(console: Console, comparisons: Sequence[StudyComparison]) -> None:
    """A row for each arm and study, with the accuracy of the first study on the seeds that both have."""
    first = comparisons[0].a
    headings = ("arm", "in", "seeds", f"accuracy in {first}", "accuracy", f"difference to {first}, 95% interval")
    rows = []
    for comparison, pair in _in_order(comparisons):
        scores = pair.test_accuracy
        shown = (
            ("", "", "no shared seed")
            if scores is None
            else (
                percent(scores.a) + _mark(pair, comparison.a),
                percent(scores.b) + _mark(pair, comparison.b),
                _difference(scores, comparison),
            )
        )
        rows.append((_name(pair), comparison.b, str(len(pair.seeds)), *shown))
    console.print(fitting_table(headings, rows, console.width, ("arm", "in", headings[-1])))
    if any(pair.not_learned and pair.seeds for comparison in comparisons for pair in comparison.pairs):
        print_lines([f"{DID_NOT_LEARN.strip()} did not learn."])


def _mark(pair: ArmPair, study: str) -> str:
    return DID_NOT_LEARN if study in pair.not_learned else ""


def _print_costs(console: Console, comparisons: Sequence[StudyComparison]) -> None:
    """Each cost that some pair has: in the first study, and below it in the others, as a multiple as well."""
    pairs = _in_order(comparisons)
    known = [cost for cost in COSTS if any(cost in pair.costs for _, pair in pairs)]
    if not known:
        return
    rows: list[tuple[str, ...]] = []
    for arm in dict.fromkeys(pair.arm_a for _, pair in pairs):
        of_arm = [(comparison, pair) for comparison, pair in pairs if pair.arm_a == arm]
        in_first = {cost: found.a for _, pair in of_arm for cost, found in pair.costs.items()}
        rows.append(
            (arm, comparisons[0].a, *(COSTS[cost][1](in_first[cost]) if cost in in_first else "" for cost in known))
        )
        for comparison, pair in of_arm:
            name = "" if pair.arm_b == arm else pair.arm_b
            rows.append((name, comparison.b, *(_cost(cost, pair.costs.get(cost)) for cost in known)))
    headings = ("arm", "in", *(COSTS[cost][0] for cost in known))
    console.print(fitting_table(headings, rows, console.width, ("arm", "in")))


def _cost(name: str, found: CostsOfBoth | None) -> str:
    if found is None:
        return ""
    ratio = "" if found.ratio is None else f"\nx {found.ratio:.2f}"
    return COSTS[name][1](found.b) + ratio
