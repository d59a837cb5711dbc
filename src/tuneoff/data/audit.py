"""The audit that comes before training: findings, each with a severity, a count, examples and what to do.

Its reason to exist: a dataset sorted by label, cut to its first rows, holds one class. Any model then scores
100%, which says nothing. Splits like that stop the study unless `accept` names the finding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from tuneoff.data.splits import Splits
from tuneoff.errors import UserError
from tuneoff.methods.base import Frozen


class Finding(Frozen):
    """One thing the audit saw."""

    name: str
    severity: Literal["error", "warning", "info"]
    split: str
    count: int = Field(ge=0)
    message: str
    advice: str
    examples: tuple[str, ...] = ()
    accepted: bool = False


def audit(splits: Splits, accept: Iterable[str] = ()) -> list[Finding]:
    """Looks for what would make a comparison worthless.

    Args:
        splits: the splits as they would be trained on.
        accept: names of error findings that the study goes on with; they are marked `accepted`.
    """
    findings = [*_one_class(splits), *_test_in_train(splits)]
    return [finding.model_copy(update={"accepted": finding.name in set(accept)}) for finding in findings]


def stop_on_errors(findings: Iterable[Finding]) -> None:
    """Raises `UserError` for the first error that the study does not accept by name."""
    for finding in findings:
        if finding.severity == "error" and not finding.accepted:
            raise UserError(
                f"the audit stopped this study ({finding.name}): {finding.message} {finding.advice} "
                f'To go on all the same, set data.accept = ["{finding.name}"].'
            )


def _one_class(splits: Splits) -> Iterable[Finding]:
    for name, frame in splits.items():
        labels = frame["label"].unique()
        if len(labels) == 1:
            yield Finding(
                name="one-class-split",
                severity="error",
                split=name,
                count=len(frame),
                message=f"all {len(frame)} {name} examples have the label '{splits.label_names[labels[0]]}'; "
                "this happens when rows sorted by label are cut at the front, and a model that has learnt nothing "
                "then scores 100%.",
                advice='Use data.sampling = "stratified" on the whole file, or shuffle its rows first.',
            )


def _test_in_train(splits: Splits) -> Iterable[Finding]:
    trained = set(splits.train["text"].str.strip())
    for name in ("validation", "test"):
        text = getattr(splits, name)["text"].str.strip()
        shared = text[text.isin(trained)]
        if len(shared):
            yield Finding(
                name="test-in-train",
                severity="error",
                split=name,
                count=len(shared),
                message=f"{len(shared)} of {len(text)} {name} texts are also in train, so their score measures memory.",
                advice="Set data.deduplicate = true to remove them.",
                examples=tuple(example[:200] for example in shared.head(3)),
            )
