"""Numbers as people write them."""

from __future__ import annotations

import re
from collections.abc import Collection

WITH_COMMA = re.compile(r"\s*([+-]?\d{1,18}),(\d{1,2}|\d{4,18})\s*")
"""A decimal comma. Three digits behind a comma may be thousands, so that nobody knows what is meant."""


def with_point(text: str) -> str:
    """A number that is written with a decimal comma, such as `4,5`, with a point; anything else as it is."""
    found = WITH_COMMA.fullmatch(text)
    return text if found is None else f"{found[1]}.{found[2]}"


def have_decimal_commas(labels: Collection[str]) -> bool:
    """Whether those of some labels that have a comma are numbers, and not numbered classes, several of them each.

    Classes come once each and in order, and each for itself as well: `3,17` beside `3` and `17`.
    """
    alone = {label.strip() for label in labels if "," not in label}
    parts = [WITH_COMMA.fullmatch(label) for label in labels if "," in label]
    return all(parts) and any(int(part[1]) >= int(part[2]) or part[2] not in alone for part in parts if part)
