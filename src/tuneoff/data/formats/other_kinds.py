"""Files that hold no text: told by how they begin, with what to do about them."""

from __future__ import annotations

import zipfile
from pathlib import Path

HEAD = 512
"""Bytes that tell."""

SIGNS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x1f\x8b", "is gzipped; let its name end in .gz"),
    (0, b"PAR1", "is a Parquet file; let its name end in .parquet, or set data.format.kind = 'parquet'"),
    (0, b"ARROW1", "is an Arrow or Feather file; write it as Parquet (pandas: read_feather, then to_parquet)"),
    (0, b"\xd0\xcf\x11\xe0", "is an old Excel workbook; export its sheet as CSV UTF-8 (in Excel: File, Save As)"),
    (4, b"1AY&SY", "is compressed with bzip2; unpack it (bunzip2)"),
    (0, b"\xfd7zXZ\0", "is compressed with xz; unpack it (unxz)"),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with Zstandard; unpack it (unzstd)"),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive; unpack it and name the file inside"),
    (257, b"ustar", "is a tar archive; unpack it and name the file inside"),
    (0, b"SQLite format 3\0", "is an SQLite database; export the table as CSV (sqlite3 -header -csv)"),
    (0, b"%PDF-", "is a PDF document, not a table; export the table as CSV from where it was made"),
    (0, b"version https://git-lfs", "is a git-lfs pointer, not the file itself; fetch it with git lfs pull"),
)
"""Where in a file which bytes stand, and what it is."""
ZIP = b"PK\x03\x04"
PAGES = (b"<!doctype html", b"<html")


def other_kind(head: bytes, path: Path) -> str | None:
    """What a file is that holds no text, and what to do; None for one that may hold text.

    Args:
        head: its first `HEAD` bytes, unpacked where the file is gzipped.
        path: of the file, which is opened where it is a zip archive.
    """
    if head.startswith(ZIP):
        return _zipped(path)
    if head.lstrip().lower().startswith(PAGES):
        return "is an HTML page, not a table; download the file itself"
    return next((what for at, sign, what in SIGNS if head[at:].startswith(sign)), None)


def _zipped(path: Path) -> str:
    """Tells an Excel workbook and other office documents, which are zip archives, from plain ones."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        names = []
    if any(name.startswith("xl/") for name in names):
        return "is an Excel workbook; export its sheet as CSV UTF-8 (in Excel: File, Save As)"
    if "mimetype" in names and "content.xml" in names:
        return "is an OpenDocument file; export its sheet as CSV (in LibreOffice: File, Save As)"
    inside = f", which is {names[0]}" if len(names) == 1 else ""
    return (
        f"is a zip archive; unpack it and name the file inside{inside}"
        if names
        else ("is a zip archive or an Excel workbook, and damaged; fetch it again, or export the sheet as CSV")
    )
