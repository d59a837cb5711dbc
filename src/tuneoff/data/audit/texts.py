"""Checks of the texts themselves: empty ones, damaged encodings, HTML."""

from __future__ import annotations

from collections.abc import Iterator

from tuneoff.data.audit.noticed import Example, Noticed, percent, plural
from tuneoff.data.audit.survey import Surveys
from tuneoff.data.splits import Splits
from tuneoff.records.finding import Finding

TOO_MANY_EMPTY = 0.01
"""Of a split: a few empty texts are slips, more are a wrong column or a reader that lost something."""


def text_findings(splits: Splits, surveys: Surveys) -> Iterator[Noticed]:
    """What is wrong with texts as such, split by split."""
    for name, size in splits.sizes.items():
        survey = surveys.of[name]
        for option, blank in survey.blank.items():
            if len(blank):
                examples = [Example(note=row) for row in splits.rows.locate(list(map(int, blank[:3])))]
                yield Noticed(_empty(name, option, len(blank), size), examples)
        damaged = survey.matches["encoding-damage"]
        if damaged.count:
            yield Noticed(_damaged(name, damaged.count, size), damaged.examples)
        tagged = survey.matches["html-remnants"]
        if tagged.count:
            yield Noticed(_tagged(name, tagged.count, size), tagged.examples)


def _empty(name: str, option: str, count: int, size: int) -> Finding:
    many = count > TOO_MANY_EMPTY * size
    means = (
        "that many point to a wrong column or a file that was read wrongly, and a model can only guess their labels."
        if many
        else "a model can only guess their labels."
    )
    are = plural(count, "is", "are")
    which = f"{name} texts" if option == "text" else f"second texts of {name}"
    return Finding(
        name="empty-text",
        severity="error" if many else "warning",
        split=name,
        count=count,
        message=f"{count:,} of {size:,} {which} {are} empty or white space ({percent(count, size)}); {means}",
        advice=f"Check data.{option}, or set data.drop_empty = true to leave these rows out.",
    )


def _damaged(name: str, count: int, size: int) -> Finding:
    hold = plural(count, "holds", "hold")
    return Finding(
        name="encoding-damage",
        severity="warning",
        split=name,
        count=count,
        message=f"{count:,} of {size:,} {name} texts {hold} signs of a wrong encoding (such as 'Ã©' for 'é', "
        f"or U+FFFD) or control characters ({percent(count, size)}); the tokenizer sees other words than a reader "
        "would.",
        advice="Set data.format.encoding to that of the file, or save it as UTF-8 from its source again; where the "
        "damage is old, ftfy repairs most of it.",
    )


def _tagged(name: str, count: int, size: int) -> Finding:
    hold = plural(count, "holds", "hold")
    return Finding(
        name="html-remnants",
        severity="info",
        split=name,
        count=count,
        message=f"{count:,} of {size:,} {name} texts {hold} HTML tags or entities ({percent(count, size)}); they "
        "take tokens from the text, for all arms alike.",
        advice="Strip them from the file if texts are cut at data.max_length.",
    )
