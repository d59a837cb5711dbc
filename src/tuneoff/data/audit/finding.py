"""A finding, and what stops a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tuneoff.core.errors import UserError
from tuneoff.core.frozen import Frozen


class Finding(Frozen):
    """One thing the audit saw.

    Attributes:
        name: one of `FINDINGS`.
        severity: an error stops the study, a warning can change what a result means, an info is good to know.
        split: "train", "validation", "test", or "all".
        count: rows concerned.
        message: what was found and what it means for the result.
        advice: what to do.
        examples: at most three, each of at most 200 printable characters.
        accepted: whether the study goes on with this error because its file names it.
    """

    name: str
    severity: Literal["error", "warning", "info"]
    split: str
    count: int = Field(ge=0)
    message: str
    advice: str
    examples: tuple[str, ...] = ()
    accepted: bool = False


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
