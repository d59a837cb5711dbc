"""What it means that texts were cut at the maximal length; known once they are tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tuneoff.core.texts import printable
from tuneoff.data.audit.noticed import LONGEST_EXAMPLE, MOST_EXAMPLES, named, percent, plural
from tuneoff.records.finding import Finding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.data.splits import Splits

MANY = 0.05
"""Share of a split's texts from which cutting is a warning."""
MOST_LISTED = 4


def truncation_findings(
    splits: Splits, lost: Mapping[str, NDArray[np.integer]], kept: Mapping[str, int]
) -> list[Finding]:
    """One finding for each split of which texts were cut.

    Args:
        splits: the splits.
        lost: by split, the number of tokens that each text lost, in the order of its rows, shape (rows,).
        kept: by split, the tokens that are left.
    """
    return [_finding(splits, name, tokens, kept[name]) for name, tokens in lost.items() if len(tokens) and tokens.any()]


def _finding(splits: Splits, name: str, lost: NDArray[np.integer], kept: int) -> Finding:
    import numpy as np

    cut = lost > 0
    count = int(cut.sum())
    are = plural(count, "is", "are")
    tokens = int(lost.sum())
    most = np.argsort(-lost, kind="stable")[: min(count, MOST_EXAMPLES)]
    columns = splits.rows.columns
    of_what = "" if columns.text_pair is None else f" ({named(columns.text)} and {named(columns.text_pair)} together)"
    unread = f"{tokens:,} of {tokens + kept:,} tokens ({percent(tokens, tokens + kept)}) go unread"
    return Finding(
        name="truncation",
        severity="warning" if count > MANY * len(lost) else "info",
        split=name,
        count=count,
        message=f"{count:,} of {len(lost):,} {name} texts{of_what} ({percent(count, len(lost))}) {are} longer than "
        f"data.max_length; {unread}.{_by_class(splits, name, cut)} What their ends say, no arm can know.",
        advice="Raise data.max_length if the model reads more and time allows it.",
        examples=tuple(
            f"{printable(where, LONGEST_EXAMPLE - 30)} lost {lost[row]:,} {plural(int(lost[row]), 'token', 'tokens')}"
            for row, where in zip(most, splits.rows.locate(splits.members[name][most].tolist()), strict=True)
        ),
    )


def _by_class(splits: Splits, name: str, cut: NDArray[np.bool_]) -> str:
    """What share of each class, or of the texts with each label, is cut; nothing where labels are numbers."""
    import numpy as np

    table, labels = splits.rows.label_table, splits.labels(name)
    names = splits.label_names
    if table is not None and len(names) == 1:
        return ""
    cut_of, all_of = (
        np.bincount(some, minlength=len(names)) if table is None else table[some].sum(axis=0)
        for some in (labels[cut], labels)
    )
    fractions = cut_of / np.maximum(all_of, 1)
    order = np.argsort(-fractions, kind="stable")
    if len(names) > MOST_LISTED:
        order = np.concatenate([order[:2], order[-2:]])
    return (
        f" Cut texts by class: {', '.join(f'{named(names[index])} {percent(fractions[index], 1)}' for index in order)}."
    )
