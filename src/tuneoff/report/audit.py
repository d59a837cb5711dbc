"""What the audit found, as a table for the terminal, as rows for a page, and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuneoff.core.texts import counted as number_of

if TYPE_CHECKING:
    from tuneoff.records.finding import Finding, Severity

HEADINGS = ("severity", "finding", "split", "rows", "what it means", "what to do")
STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}
SPECIAL = re.compile(
    r"[\\`*\[\]|~]"  # anywhere
    r"|(?<![^\W_])_|_(?![^\W_])"  # but within a word
    r"|^(?:#|=|[+-](?=[\s+-]|$))|(?<=\s)#+$"  # of headings, lists and rules
)
"""What Markdown takes for more than a character."""
NUMBER = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
"""The beginning of a numbered list."""
WIDTH = 160
"""Where standard output is no terminal."""


def rows(findings: Sequence[Finding]) -> list[tuple[str, ...]]:
    """One row a finding, as text in the order of `HEADINGS`, not escaped."""
    return [
        (
            finding.severity + (" (accepted)" if finding.accepted else ""),
            finding.name,
            finding.split,
            f"{finding.count:,}" if finding.count else "",
            finding.message,
            finding.advice,
        )
        for finding in findings
    ]


def print_audit(findings: Sequence[Finding]) -> None:
    """The findings with their examples, then how many there are of each severity."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    if findings:
        table = Table(box=box.SIMPLE_HEAD)
        for heading in HEADINGS[:3]:
            table.add_column(heading, no_wrap=True)
        table.add_column(HEADINGS[3], justify="right", no_wrap=True)
        table.add_column("what it means and what to do", ratio=1)
        for finding, row in zip(findings, rows(findings), strict=True):
            said = Text(f"{row[4]} {row[5]}")
            for example in finding.examples:
                said.append(f"\n- {example}", style="dim")
            table.add_row(Text(row[0], STYLES[finding.severity]), *row[1:4], said)
        console.print(table)
    console.print(counted(findings), markup=False)


def counted(findings: Sequence[Finding]) -> str:
    """How many findings there are of each severity, and whether a study would go on."""
    errors = [finding for finding in findings if finding.severity == "error"]
    open_errors = sum(not finding.accepted for finding in errors)
    counts = [_number(len(errors), "error"), _number_of(findings, "warning"), _number_of(findings, "info")]
    outcome = "They stop the study." if open_errors > 1 else "It stops the study." if open_errors else ""
    if errors and len(errors) > open_errors:
        outcome = f"{outcome} {len(errors) - open_errors:,} accepted by the study file.".strip()
    return f"{', '.join(counts)}. {outcome}".strip()


def markdown(findings: Sequence[Finding]) -> str:
    """Lists of the findings and their examples, in which no text of the data acts as Markdown or HTML.

    What is for information alone is folded.
    """
    told, known = without_information(findings)
    if not known:
        return _items(told)
    folded = f"<details>\n<summary>{counted_information(known)}</summary>\n\n{_items(known)}\n\n</details>"
    return f"{_items(told)}\n\n{folded}" if told else folded


def without_information(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The errors and warnings, and apart from them what is for information alone."""
    known = [finding for finding in findings if finding.severity == "info"]
    return [finding for finding in findings if finding.severity != "info"], known


def counted_information(known: Sequence[Finding]) -> str:
    """What stands over findings that are folded."""
    return f"{len(known):,} finding{'' if len(known) == 1 else 's'} for information"


def _items(findings: Sequence[Finding]) -> str:
    lines = []
    for finding, row in zip(findings, rows(findings), strict=True):
        lines.append(f"- **{row[0]}** `{row[1]}` ({row[2]}): {plain(row[4])} {plain(row[5])}")
        lines.extend(f"  - {plain(example)}" for example in finding.examples)
    return "\n".join(lines)


def left_out(removed: Mapping[str, int]) -> list[str]:
    """One sentence for each split of which rows were left out.

    Args:
        removed: rows by split.
    """
    return [
        f"{number_of(count, 'row')} of {name} {'was' if count == 1 else 'were'} left out: repeated texts, or what "
        "data.drop_empty and data.drop_labels name."
        for name, count in removed.items()
        if count
    ]


def plain(text: str) -> str:
    """A text on one line, in which nothing acts as Markdown or HTML."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return NUMBER.sub(r"\1\\\2", SPECIAL.sub(r"\\\g<0>", " ".join(text.split())))


def _number_of(findings: Sequence[Finding], severity: Severity) -> str:
    return _number(sum(finding.severity == severity for finding in findings), severity)


def _number(count: int, what: str) -> str:
    if what == "info":
        return f"{count:,} for information"
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
