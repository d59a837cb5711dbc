"""Two studies side by side, in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuneoff.report.words import megabytes, percent, seconds

COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "train_seconds": ("train time", seconds),
    "inference_latency_seconds": ("latency", lambda value: f"{1000 * value:.3g} ms"),
    "peak_train_memory_bytes": ("peak memory", megabytes),
    "trainable_parameters": ("trainable", lambda value: f"{value:,}"),
    "checkpoint_bytes": ("checkpoint", megabytes),
}
VERDICTS = {
    "a": "A is more accurate",
    "b": "B is more accurate",
    "not shown": "not shown after correcting for all pairs",
    "tie": "inside the noise",
    "unranked": "one seed: not ranked",
}


def print_comparison(compared: dict[str, Any]) -> None:
    """What differs, then accuracies, costs and the whole; `compared` is from `compare_studies`."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 200

    def say(line: str) -> None:
        console.print(escape(line))

    for name in ("a", "b"):
        say(f"{name.upper()}  {compared[name]['folder']}: {compared[name]['study']}, {compared[name]['model']}")
    for entry in compared["differences"]:
        say(f"different: {entry['setting']}: {entry['a']} in A, {entry['b']} in B")
    if compared["pairs"]:
        console.print(_accuracies(compared["pairs"]))
        console.print(_costs(compared["pairs"]))
    for line in comparison_lines(compared):
        say(line)


def comparison_lines(compared: dict[str, Any]) -> list[str]:
    """What is to be said beside the tables, in sentences."""
    lines = []
    for pair in compared["pairs"]:
        lines += [
            f"{_name(pair)}: {entry['setting']} is {entry['a']} in A, {entry['b']} in B."
            for entry in pair["differences"]
        ]
    left_out: dict[str, list[str]] = {}
    for pair in compared["pairs"]:
        for cost, why in pair["left_out"].items():
            named = left_out.setdefault(why, [])
            if COSTS[cost][0] not in named:
                named.append(COSTS[cost][0])
    lines += [f"Not compared: {', '.join(costs)}; {why}." for why, costs in left_out.items()]
    for name, arms in (("A", compared["only_in_a"]), ("B", compared["only_in_b"])):
        if arms:
            lines.append(f"Only in {name}: {', '.join(arms)}.")
    overall = compared["overall"]
    if overall is not None:
        ratios = [f"{COSTS[cost][0]} x {ratio:.2f}" for cost, ratio in overall["cost_ratios"].items()]
        arms = f"{overall['arms']} arm{'s' if overall['arms'] > 1 else ''}"
        lines.append(f"Overall ({arms}), B against A: {'; '.join([_difference(overall), *ratios])}.")
    if compared["best"] is not None:
        best = compared["best"]
        lines.append(
            f"Most accurate arms, {best['arm_b']} in B against {best['arm_a']} in A: "
            f"{_difference(best['test_accuracy'])}."
        )
    return lines + compared["notes"]


def _name(pair: dict[str, Any]) -> str:
    return pair["arm_a"] if pair["arm_a"] == pair["arm_b"] else f"{pair['arm_a']} / {pair['arm_b']}"


def _difference(found: dict[str, Any]) -> str:
    mean, low, high = (100 * found["difference"][key] for key in ("mean", "ci_low", "ci_high"))
    verdict = f" ({VERDICTS[found['verdict']]})" if "verdict" in found else ""
    return f"{mean:+.1f} points, {low:+.1f} to {high:+.1f}{verdict}"


def _accuracies(pairs: list[dict[str, Any]]) -> Table:
    table = _table("arm", "seeds", "accuracy A", "accuracy B", "B - A, 95% interval")
    for pair in pairs:
        scores = pair["test_accuracy"]
        shown = (
            ["", "", "no shared seed"]
            if scores is None
            else [percent(scores["a"]), percent(scores["b"]), _difference(scores)]
        )
        table.add_row(escape(_name(pair)), str(len(pair["seeds"])), *shown)
    return table


def _costs(pairs: list[dict[str, Any]]) -> Table:
    """Each cost in A and in B with their ratio; only those that some pair has."""
    there = [cost for cost in COSTS if any(cost in pair["costs"] for pair in pairs)]
    table = _table("arm", *(f"{COSTS[cost][0]} A, B" for cost in there))
    for pair in pairs:
        table.add_row(escape(_name(pair)), *(_cost(cost, pair["costs"].get(cost)) for cost in there))
    return table


def _cost(name: str, found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    show = COSTS[name][1]
    ratio = "" if found["ratio"] is None else f" (x {found['ratio']:.2f})"
    return f"{show(found['a'])}, {show(found['b'])}{ratio}"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "arm" else "right", no_wrap=True)
    return table
