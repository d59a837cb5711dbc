"""Texts and names where there is little room."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

CUT = " …"
BREAKS = r"\s._+=/,\-"
"""What a name may be broken after."""
MOST_LISTED = 20
"""Names in a message."""
SPACES = re.compile(r"[ \t\r\n]+")
JOINERS = "\u200c\u200d"
"""Part of words in some scripts, and of emoji."""
ONLY_WORD = re.compile(r"\S+\s*$")


def counted(count: int, one: str) -> str:
    """A number of things that are called by a word with a plural in s: `1 seed`, `1,000 seeds`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def is_blank(text: str) -> bool:
    """Whether a text is empty or of white space alone."""
    return not text or text.isspace()


def shortened(text: str, most: int) -> str:
    """The beginning of a text in whole words, at most so many characters with the mark that it goes on.

    What has no space after its first third (one long word, a script without spaces) is cut where the room ends.
    """
    if len(text) <= most:
        return text
    kept = text[: most - len(CUT) + 1]  # one more, which may be the space after a whole word
    whole = ONLY_WORD.sub("", kept) if not kept[-1].isspace() else kept
    return (whole if len(whole) > most // 3 else kept[:-1]).rstrip() + CUT


def broken(name: str, most: int) -> list[str]:
    """A name in lines of at most so many letters (two or more), broken after signs and spaces where there are any."""
    lines = [""]
    for piece in re.findall(f"[^{BREAKS}]{{1,{most - 1}}}[{BREAKS}]?|[{BREAKS}]", name):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > most:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def in_line(names: Sequence[str]) -> str:
    """Names for a message, on one line; those that would be misread are quoted."""
    plain = [name if name.isprintable() and name == name.strip() != "" else repr(name) for name in names[:MOST_LISTED]]
    return ", ".join(plain) + (f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else "")


def printable(text: str, most: int) -> str:
    """A text in one line of at most so many characters, in whole words, with control characters spelled out."""
    line = SPACES.sub(" ", text[: 4 * most]).strip()
    return shortened("".join(character if _harmless(character) else _spelled(character) for character in line), most)


def _harmless(character: str) -> bool:
    return character in JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
