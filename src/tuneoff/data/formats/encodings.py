"""Guesses the encoding of a text file that says nothing of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tuneoff.data.formats.other_kinds import HEAD
from tuneoff.data.formats.raw import marked_encoding, opened_bytes

ENOUGH = 1 << 16
"""Bytes of lines that are not plain ASCII, by which an encoding is guessed."""
WESTERN = "cp1252"
USUAL = [
    *(WESTERN, "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
]
"""Of encodings that differ in a few characters, one each; none of systems that are long gone."""
LAST = "latin-1"
"""Reads whatever bytes there are."""
WORDS = re.compile(rb"[A-Za-z\x80-\xff]*[\x80-\xff][A-Za-z\x80-\xff]*")
LEADS = re.compile(rb"[\x81-\x84\x86-\x89\x8b\x8d\x8f]")
"""Bytes that no Western text has, but for a few symbols; each first of two in Japanese texts."""
MANY = 0.1


def likely_encoding(path: Path) -> str | None:
    """The encoding that a text file is probably in, of those that read all of it.

    Returns:
        "utf-8" also where a byte order mark says that it is one of its kind; "ascii" where every encoding would do;
        None where it is no text.
    """
    with opened_bytes(path) as binary:
        head = binary.peek(HEAD)[:HEAD]
        if marked_encoding(head) is not None:
            return "utf-8"
        if b"\0" in head:
            return _of_two_bytes(head)
        odd, utf8 = b"", True
        for line in binary:
            if line.isascii():
                continue
            utf8 = utf8 and _valid(line, "utf-8")
            odd += line[:ENOUGH] if len(odd) < ENOUGH else b""
            if not utf8 and len(odd) >= ENOUGH:
                break
    if utf8:
        return "utf-8" if odd else "ascii"
    return next(encoding for encoding in _guesses(odd) if _reads(path, encoding))


def _guesses(sample: bytes) -> Iterator[str]:
    """What a sample may be, likely ones first. Western languages go before others that read it as well."""
    from charset_normalizer import from_bytes

    if len(LEADS.findall(sample)) > MANY * sum(byte >= 0x80 for byte in sample):
        words = b" ".join(WORDS.findall(sample))  # so that English between them makes no language
        for piece in (words, sample):
            found = from_bytes(piece, cp_isolation=[name for name in USUAL if name != WESTERN]).best()
            if found is not None:
                yield found.encoding
    best, western = (from_bytes(sample, cp_isolation=names).best() for names in (USUAL, [WESTERN]))
    if best is not None:
        if western is not None and western.chaos <= best.chaos and western.coherence >= best.coherence:
            yield WESTERN
        yield best.encoding
    yield WESTERN
    yield LAST


def _of_two_bytes(head: bytes) -> str | None:
    """UTF-16, told by where the zeros of its Latin letters, digits and separators are."""
    odd, even = head[1::2].count(0), head[::2].count(0)
    if max(odd, even) < len(head) / 8 or min(odd, even) > 0:
        return None
    return "utf-16-le" if odd else "utf-16-be"


def _reads(path: Path, encoding: str) -> bool:
    with opened_bytes(path) as binary:
        return all(_valid(line, encoding) for line in binary)


def _valid(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
