"""Labels that are worth a look: `label-issues.csv`, and what is said of it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.files import replacing
from tuneoff.core.texts import counted, printable
from tuneoff.records.label_issue import LabelIssue
from tuneoff.report import words

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.summary import Summary

FILE = "label-issues.csv"
SHOWN = 5
LETTERS = 200
"""Of each text, from its beginning, at most."""
CAVEAT = (
    "These are candidates to check, not errors: arms that learned from the same labels can agree and be wrong, and a "
    "wrong label that some arm is unsure of is not listed. Nothing was changed or left out."
)


def write_label_issues(results: StudyResults) -> None:
    """Writes `label-issues.csv`, a row a label; where there is none, one of before is removed."""
    path = results.folder / FILE
    if not results.label_issues:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(LabelIssue.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(issue.model_dump() for issue in results.label_issues)


def sentence(summary: Summary) -> str:
    """How many labels are worth a look; empty where none is."""
    check = summary.label_check
    if check is None or not check.listed:
        return ""
    arms = f"{check.arms[0]} calls"
    if len(check.arms) > 1:
        every = words.every_arm(summary, check.arms)
        arms = f"{every[0].upper()}{every[1:]} call"
    labels = "label" if check.listed == 1 else "labels"
    return (
        f"{arms} the {labels} of {check.listed:,} of {counted(check.examples, 'test example')} wrong with confidence; "
        f"{FILE} lists {'it' if check.listed == 1 else 'them'} to check."
    )


def shown(issues: Sequence[LabelIssue]) -> tuple[LabelIssue, ...]:
    """The surest few, with the beginnings of their texts."""
    return tuple(
        issue.model_copy(
            update={
                "text": printable(issue.text, LETTERS),
                "text_pair": None if issue.text_pair is None else printable(issue.text_pair, LETTERS),
            }
        )
        for issue in issues[:SHOWN]
    )


def lines(issues: Sequence[LabelIssue]) -> list[str]:
    """The surest few, a line each."""
    return [
        f"{where(issue)}, labelled {issue.label} ({issue.label_probability:.0%}), arms say {issue.arms_say} "
        f"({issue.arms_say_probability:.0%}): {texts(issue)}"
        for issue in shown(issues)
    ]


def where(issue: LabelIssue) -> str:
    """Where an example is found."""
    if issue.row is None or issue.file is None:
        return issue.split
    return f"row {issue.row:,} of {Path(issue.file).name}"


def texts(issue: LabelIssue) -> str:
    """One text, or both of a pair."""
    return issue.text if issue.text_pair is None else f"{issue.text} / {issue.text_pair}"
