"""Lines as fastText reads them: `__label__sports the text of the line`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.data.formats.lines import OpenedFile, batched, read_lines

if TYPE_CHECKING:
    import pyarrow as pa

MARK = "__label__"
LINE = re.compile(rf"\s*{MARK}(?P<label>\S+)(?:\s+(?P<text>.*))?", re.DOTALL)
COLUMNS = ("text", "label")


def open_fasttext(path: Path, encoding: str) -> OpenedFile:
    """Opens lines of a label and a text each; the columns are `text` and `label`.

    Raises:
        UserError: where a line has no label, or several; also while rows are read.
    """
    next(_rows(path, encoding), None)

    def tables() -> Iterator[pa.Table]:
        import pyarrow as pa

        for batch in batched(_rows(path, encoding)):
            columns = [pa.array(column, pa.string()) for column in zip(*batch, strict=True)]
            yield pa.Table.from_arrays(columns, names=list(COLUMNS))

    return OpenedFile(COLUMNS, tables)


def _rows(path: Path, encoding: str) -> Iterator[tuple[tuple[str | None, str], int]]:
    for number, line in enumerate(read_lines(path, encoding), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise UserError(
                f"{path}: line {number} does not begin with {MARK}; set data.format.kind to what the file is"
            )
        text = (match["text"] or "").strip()
        if text.startswith(MARK):
            raise UserError(
                f"{path}: line {number} has several labels ({line.strip()[:60]!r}); here a line has one: for "
                "data.task = 'multi_label' write lists of labels as JSON, or else keep one of them on each line"
            )
        yield (text or None, match["label"]), len(line)
