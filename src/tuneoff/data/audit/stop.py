"""What stops a study."""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.core.errors import UserError
from tuneoff.records.finding import Finding


class AuditError(UserError):
    """An error in the data that the study does not accept; `findings` holds all that was found."""

    def __init__(self, findings: Sequence[Finding], first: Finding) -> None:
        self.findings = list(findings)
        super().__init__(
            f"the audit stopped this study ({first.name}): {first.message} {first.advice} "
            f'To go on all the same, set data.accept = ["{first.name}"].'
        )


def stop_on_errors(findings: Sequence[Finding]) -> None:
    """Raises `AuditError` for the first error that the study does not accept by name."""
    for finding in findings:
        if finding.severity == "error" and not finding.accepted:
            raise AuditError(findings, finding)
