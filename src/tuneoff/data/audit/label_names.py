"""Checks of how labels are spelt: those that mean "no label", and classes that are one class spelt twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tuneoff.core.texts import counted
from tuneoff.data import notes
from tuneoff.data.audit.noticed import Noticed, listed, named, plural
from tuneoff.data.label_signs import Ordered, ordered, sentinels, spelt_alike
from tuneoff.data.splits import Splits
from tuneoff.records.finding import Finding


def label_findings(splits: Splits) -> Iterator[Noticed]:
    """Labels that mean none, over all splits, labels that are nearly the same, and those that have an order."""
    rows = splits.rows
    counts = np.bincount(rows.labels[rows.labels >= 0], minlength=len(rows.label_names))
    of = dict(zip(rows.label_names, counts.tolist(), strict=True))
    sure, perhaps = sentinels(rows.label_names, counts.tolist(), rows.declared)
    if sure:
        yield Noticed(_meaningless(sure, sum(of[name] for name in sure), rows.declared))
    if perhaps:
        yield Noticed(_perhaps_meaningless(perhaps, sum(of[name] for name in perhaps)))
    for group in spelt_alike(rows.label_names):
        yield Noticed(_alike(group, [of[name] for name in group]))
    steps = ordered(rows.label_names, rows.columns.label)
    if steps is not None:
        yield Noticed(_ordered(steps, rows.label_names))


def _rows_have(count: int) -> str:
    return f"{counted(count, 'row')} {plural(count, 'has', 'have')}"


def _meaningless(names: list[str], count: int, declared: tuple[str, ...] | None) -> Finding:
    shown = listed([named(name) for name in names])
    why = f"the classes that the data declares are {listed([named(name) for name in declared])}" if declared else ""
    return Finding(
        name="sentinel-label",
        severity="error",
        split="all",
        count=count,
        message=f"{_rows_have(count)} the label {shown}, which means that there is none{f': {why}' if why else ''}; a "
        "model would learn it as a class.",
        advice=f"Set {_dropping(names)} to leave these rows out.",
    )


def _perhaps_meaningless(names: list[str], count: int) -> Finding:
    shown = listed([named(name) for name in names])
    return Finding(
        name="sentinel-label",
        severity="warning",
        split="all",
        count=count,
        message=f"{_rows_have(count)} the label {shown}, which is taken for a class, and may mean that there is none.",
        advice=f"If so, set {_dropping(names)} to leave these rows out.",
    )


def _alike(group: list[str], counts: list[int]) -> Finding:
    each = " and ".join(f"{count:,}" for count in counts)
    return Finding(
        name="labels-alike",
        severity="warning",
        split="all",
        count=sum(counts) - max(counts),
        message=f"{notes.alike(group)} ({each} rows): a model is wrong whenever it takes one for the other.",
        advice="Write them alike in the data, if they are the same class.",
    )


def _ordered(steps: Ordered, names: tuple[str, ...]) -> Finding:
    return Finding(
        name="ordered-labels",
        severity="warning" if steps.many else "info",
        split="all",
        count=0,
        message=f"{steps.said(names)}.",
        advice=f"{steps.cure[0].upper()}{steps.cure[1:]}.",
    )


def _dropping(names: list[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"data.drop_labels = [{quoted}]"
