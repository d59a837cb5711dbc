"""The audit that comes before training: findings, each with a severity, a count, examples and what to do.

Its reason to exist: a dataset sorted by label, cut to its first rows, holds one class. Any model then scores
100%, which says nothing. Errors stop the study unless its file names the finding in `data.accept`.

One module a family of checks. Each looks at arrays of a few bytes a row, or at what one reading of all texts kept
(`survey`); where it looks at a sample, its message says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tuneoff.data.audit.baselines import baseline_findings
from tuneoff.data.audit.stop import AuditError, stop_on_errors
from tuneoff.records.finding import Finding
from tuneoff.spec.findings import FINDINGS, AcceptableFinding

if TYPE_CHECKING:
    from tuneoff.data.splits import Splits

__all__ = [
    "FINDINGS",
    "AcceptableFinding",
    "AuditError",
    "audit",
    "baseline_findings",
    "in_order",
    "stop_on_errors",
]

SEVERITIES = ("error", "warning", "info")


def audit(splits: Splits, accept: Iterable[str] = ()) -> list[Finding]:
    """Looks for what would make a comparison worthless.

    Args:
        splits: the splits as they would be trained on.
        accept: names of error findings that the study goes on with; they are marked `accepted`.

    Returns:
        Errors first, then warnings, then what is good to know.
    """
    from tuneoff.data.audit.classes import class_findings
    from tuneoff.data.audit.columns import column_findings
    from tuneoff.data.audit.label_names import label_findings
    from tuneoff.data.audit.leaks import leak_findings
    from tuneoff.data.audit.near import near_findings
    from tuneoff.data.audit.noticed import with_examples
    from tuneoff.data.audit.repeats import repeat_findings
    from tuneoff.data.audit.row_order import row_order_findings
    from tuneoff.data.audit.survey import survey
    from tuneoff.data.audit.texts import text_findings
    from tuneoff.data.audit.values import value_findings

    surveys = survey(splits)
    are_classes = splits.rows.label_table is None
    noticed = [
        *(label_findings(splits) if are_classes else ()),
        *column_findings(splits),
        *(class_findings(splits) if are_classes else value_findings(splits)),
        *repeat_findings(splits),
        *near_findings(splits, surveys),
        *(leak_findings(splits, surveys) if are_classes else ()),
        *(row_order_findings(splits) if are_classes else ()),
        *text_findings(splits, surveys),
    ]
    accepted = set(accept)
    return in_order(
        finding.model_copy(update={"accepted": finding.severity == "error" and finding.name in accepted})
        for finding in with_examples(splits.rows, noticed)
    )


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then what is good to know; otherwise as they come."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
