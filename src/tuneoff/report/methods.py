"""The methods in the terminal: all of them, one explained, what each would train of a model."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from tuneoff.records.described import DescribedMethod, MethodOnModel
from tuneoff.report.grid import fitting_table
from tuneoff.report.terminal import wide_console
from tuneoff.study.rates import RULE

COLUMNS = ("method", "marks", "search starts at", "what it does", "parameters beside the head")
ON_MODEL_COLUMNS = ("method", "adapter", "head", "trainable", "of all")
MARKS = "m: can be merged into the weights; p: texts can be packed; 4, 8: trains on a backbone in 4 or 8 bits"


def print_methods(described: Sequence[DescribedMethod]) -> None:
    """A line for each method."""
    console = wide_console()
    rows = [
        (
            method.method,
            _marks(method),
            "" if not method.starting_rate else f"{method.starting_rate:g}",
            method.summary,
            method.formula,
        )
        for method in described
    ]
    console.print(fitting_table(COLUMNS, rows, console.width, ("what it does", "parameters beside the head")))
    console.print(escape(MARKS))
    console.print(escape(f"Where no rate is given, the search starts at the one above {RULE}."))
    console.print(
        "`tuneoff methods NAME` explains one; `tuneoff methods --model MODEL` counts what each trains of a model."
    )


def print_method(method: DescribedMethod) -> None:
    """One method with all of its options."""
    console = wide_console()
    console.print(f"[bold]{method.method}[/bold]: {escape(method.idea)}\n", highlight=False)
    able = [
        *(["can be merged into the weights"] if method.mergeable else []),
        *(["packs texts"] if method.packs else ["does not pack texts"]),
        *([f"trains on a backbone in {', '.join(method.quantizations)}"] if method.quantizations else []),
    ]
    facts = [
        ("it", method.summary),
        ("parameters", f"{method.formula}, and the head" if method.formula else ""),
        ("rate", f"the search starts at {method.starting_rate:g} {RULE}" if method.starting_rate else ""),
        ("source", method.reference),
        ("behind", method.shortfall),
        ("also", "; ".join(able)),
    ]
    for name, said in facts:
        if said:
            console.print(escape(f"{name:<12}{said}"))
    console.print("\noptions of an arm, with their defaults")
    for option in method.options:
        console.print(escape(f"    {option.name} = {option.default}    {option.description}".rstrip()))


def print_methods_on(model: str, classes: int, counted: Sequence[MethodOnModel]) -> None:
    """What each method would train of a model."""
    console = wide_console()
    console.print(escape(f"{model} with {classes} classes, each method with its default options"))
    rows = [
        (
            one.method,
            f"{one.parameters.adapter:,}",
            f"{one.parameters.head:,}",
            f"{one.parameters.trainable:,}",
            f"{100 * one.parameters.trainable / one.parameters.total:.3f}%",
        )
        for one in sorted(counted, key=lambda one: -1 if one.parameters is None else one.parameters.trainable)
        if one.parameters is not None
    ]
    if rows:
        console.print(fitting_table(ON_MODEL_COLUMNS, rows, console.width, ("method",)))
    for one in counted:
        if one.why_not is not None:
            console.print(escape(f"not {one.method}: {one.why_not}"))


def _marks(method: DescribedMethod) -> str:
    return "".join(
        mark
        for mark, holds in (
            ("m", method.mergeable),
            ("p", method.packs),
            ("4", "nf4" in method.quantizations),
            ("8", "int8" in method.quantizations),
        )
        if holds
    )
