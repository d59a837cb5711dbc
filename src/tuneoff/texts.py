"""Texts of the data where there is room for their beginning only."""

from __future__ import annotations

import re

CUT = " …"
ONLY_WORD = re.compile(r"\S+\s*$")


def shortened(text: str, most: int) -> str:
    """The beginning of a text in whole words, at most so many characters with the mark that it goes on.

    What has no space after its first third (one long word, a script without spaces) is cut where the room ends.
    """
    if len(text) <= most:
        return text
    kept = text[: most - len(CUT) + 1]  # one more, which may be the space after a whole word
    whole = ONLY_WORD.sub("", kept) if not kept[-1].isspace() else kept
    return (whole if len(whole) > most // 3 else kept[:-1]).rstrip() + CUT
