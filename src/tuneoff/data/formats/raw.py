"""Files as bytes, plain or gzipped, and what their first bytes say of their encoding."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def opened_bytes(path: Path) -> Any:  # a reader of bytes with `peek`
    """Opens a file as bytes, unpacked where its name ends in `.gz`."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def marked_encoding(head: bytes) -> str | None:
    """The encoding that a file's byte order mark speaks of, in which Python reads over the mark."""
    return next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)
