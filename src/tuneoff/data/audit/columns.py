"""Checks of which columns are used: a header that is missing, several labels an example, what else there is."""

from __future__ import annotations

from collections.abc import Iterator

from tuneoff.data import notes
from tuneoff.data.audit.noticed import Noticed, listed, named
from tuneoff.data.label_signs import several_in_one
from tuneoff.data.rows import EMPTY, LABEL
from tuneoff.data.splits import Splits
from tuneoff.records.finding import Finding

MOST_LISTED = 6


def column_findings(splits: Splits) -> Iterator[Noticed]:
    """What the names and kinds of columns say about a study, and the rows that it leaves out."""
    looks, used = splits.rows.looks, splits.rows.columns
    if looks.example is not None:
        yield Noticed(_missing_header(looks.example))
    several = several_in_one(splits.label_names) if splits.rows.label_table is None else None
    if several is not None:
        yield Noticed(_several_labels(f"{notes.joined(*several)}."))
    elif splits.rows.label_table is None and looks.one_of_several(used.label):
        yield Noticed(_several_labels(f"{notes.multi_hot(looks.yes_no, used.label, looks.one_hot)}."))
    yield from _left_out(splits)
    others = {"data.label": looks.other_labels(used), "data.text or data.text_pair": looks.other_texts(used)}
    if any(others.values()):
        pair = "" if used.text_pair is None else f" with {named(used.text_pair)}"
        could = " ".join(
            f"{listed([named(name) for name in names[:MOST_LISTED]])} could also be {option}."
            for option, names in others.items()
            if names
        )
        yield Noticed(
            _about_all(
                "other-columns",
                "info",
                f"texts are {named(used.text)}{pair}, labels are {named(used.label)}. {could}",
                "Set these where others are meant.",
            )
        )


def _missing_header(example: str) -> Finding:
    return _about_all(
        "missing-header",
        "warning",
        f"a column is called {named(example)}, which looks like part of an example: where the file has no header, its "
        "first example is lost.",
        "Set data.format.header = false, and data.format.columns to the names of the columns.",
    )


def _several_labels(message: str) -> Finding:
    return _about_all(
        "several-labels",
        "warning",
        message,
        "Where an example has several labels, set data.task = 'multi_label'; now it is scored as if its one label were "
        "all there is to know.",
    )


def _left_out(splits: Splits) -> Iterator[Noticed]:
    for name, reasons in splits.rows.dropped.items():
        why = {
            "have no text or label (data.drop_empty)": reasons[EMPTY],
            "have a label that data.drop_labels names": reasons[LABEL],
        }
        message = " and ".join(f"{count:,} {reason}" for reason, count in why.items() if count)
        yield Noticed(
            Finding(
                name="dropped-rows",
                severity="info",
                split=name,
                count=sum(reasons.values()),
                message=f"rows of {name} are left out: {message}.",
                advice="Look for why there are such where they are many.",
            )
        )


def _about_all(name: str, severity: str, message: str, advice: str) -> Finding:
    return Finding.model_validate(
        {"name": name, "severity": severity, "split": "all", "count": 0, "message": message, "advice": advice}
    )
