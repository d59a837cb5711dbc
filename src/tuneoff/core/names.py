"""Names that people write: which known one was meant, and what they may be made of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from pydantic import AfterValidator


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one that is near it in any case, or else all of them."""
    known = list(known)
    near = nearest(given, known)
    return f"; known are {', '.join(known)}" if near is None else f"; did you mean '{near}'?"


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name that is near one, in any case; None where none is."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), by_lower, n=5)
    # Letters that changed places tell more than letters that differ: "lroa" is "lora" rather than "road".
    close.sort(key=lambda name: sorted(name) != sorted(given.lower()))
    return by_lower[close[0]] if close else None


def meant_by(wanted: str, given: Iterable[str]) -> str:
    """The end of a message about a name that is missing: one that was given and looks like it, or nothing."""
    close = difflib.get_close_matches(wanted, [name for name in given if name != wanted], n=1)
    return f" (is '{close[0]}' meant to be {wanted}?)" if close else ""


def made_of(pattern: str, words: str) -> AfterValidator:
    """Refuses a name that does not match a regular expression, and says so in words.

    Args:
        pattern: of the whole name.
        words: what it may be made of.
    """

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"a name is made of {words}")
        return text

    return AfterValidator(check)
