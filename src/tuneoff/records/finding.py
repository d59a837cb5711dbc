"""What the audit found in the data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneoff.records.record import Record

Severity = Literal["error", "warning", "info"]


class Finding(Record):
    """One thing that the audit saw."""

    name: str
    """which, as `tuneoff.spec.findings` names it"""
    severity: Severity
    """an error stops the study, a warning can change what a result means, an info is good to know"""
    split: str
    """`train`, `validation`, `test`, or `all`"""
    count: int = Field(ge=0)
    """rows concerned"""
    message: str
    """what was found and what it means for the result"""
    advice: str
    """what to do"""
    examples: tuple[str, ...] = ()
    """at most three, each of at most 200 printable characters"""
    accepted: bool = False
    """whether the study goes on with this error because its file names it"""


class Audit(Record):
    """All that the audit found before training: `data/audit.json`."""

    findings: tuple[Finding, ...]
    """errors first, then warnings, then what is good to know"""
