"""What it means that texts were cut at the maximal length; known once they are tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tuneoff.core.long_texts import BY_TOKENIZER, LongTexts
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
UNREAD: dict[LongTexts, str] = {"head": "ends", "tail": "beginnings", "head+tail": "middles"}


def truncation_findings(
    splits: Splits, long_texts: LongTexts, lost: Mapping[str, NDArray[np.integer]], kept: Mapping[str, int]
) -> list[Finding]:
    """One finding for each split of which texts were cut.

    Args:
        splits: the splits.
        long_texts: what the study reads of such texts.
        lost: by split, the number of tokens that each text lost, in the order of its rows, shape (rows,).
        kept: by split, the tokens that are left.
    """
    return [
        _finding(splits, long_texts, name, tokens, kept[name])
        for name, tokens in lost.items()
        if len(tokens) and tokens.any()
    ]


def _finding(splits: Splits, long_texts: LongTexts, name: str, lost: NDArray[np.integer], kept: int) -> Finding:
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
        f"data.max_length; {unread}.{_by_class(splits, name, cut)} What their "
        f"{UNREAD[long_texts]} say, no arm can know.",
        advice="Raise data.max_length if the model reads more and time allows it; "
        + _others(long_texts, columns.text_pair is not None, (tokens + kept) / kept),
        examples=tuple(
            f"{printable(where, LONGEST_EXAMPLE - 30)} lost {lost[row]:,} {plural(int(lost[row]), 'token', 'tokens')}"
            for row, where in zip(most, splits.rows.locate(splits.members[name][most].tolist()), strict=True)
        ),
    )


def _others(long_texts: LongTexts, pairs: bool, more: float) -> str:
    """What else could be read of such texts, and what of it goes unread.

    Args:
        long_texts: what the study reads.
        pairs: whether examples are of two texts.
        more: tokens that the texts have, over those that are read.
    """
    others = [rule for rule in UNREAD if rule != long_texts and (not pairs or rule in BY_TOKENIZER)]
    of_same = f"data.long_texts = {' or '.join(repr(rule) for rule in others)} leaves as much unread, elsewhere"
    if pairs:
        return f"{of_same}."
    return f"{of_same}, and 'windows' nothing, with {more:.1f} times the tokens. Arms can differ in it (long_texts)."


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
