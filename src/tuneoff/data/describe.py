"""What data looks like that nobody has described: rows, columns, classes, lengths, splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.data.columns import listed
from tuneoff.data.guess import Guess, guess_columns
from tuneoff.data.rows import SPLITS, Rows, collect_rows
from tuneoff.data.sources import open_parts
from tuneoff.data.splits import make_splits
from tuneoff.errors import UserError

if TYPE_CHECKING:
    from tuneoff.spec import FilesData

MAX_LENGTHS = (32, 64, 128, 256, 512)
BYTES_PER_TOKEN = 3.5
"""Fewer than usual (English has about 4.5), so that estimates are rather too long."""
MARKS = 4
"""Tokens that a tokenizer puts around one text or two."""
UNCUT = 0.99
"""Share of texts that `max_length` shall not cut."""
MOST_CLASSES_SHOWN = 12


@dataclass(frozen=True)
class Understanding:
    """What was found in data.

    Attributes:
        spec: `[data]` as it will be written.
        guess: which columns hold what.
        columns: of the training data.
        sizes: rows by split, as the data has them.
        classes: names and rows, most first.
        characters: the shortest, the middle and the longest text.
        repeated: rows whose text an earlier row has.
    """

    spec: FilesData
    guess: Guess
    columns: tuple[str, ...]
    sizes: dict[str, int]
    classes: list[tuple[str, int]]
    characters: tuple[int, int, int]
    repeated: int

    def lines(self) -> list[str]:
        """What was understood, for people."""
        pair = f" with {listed([self.spec.text_pair])}" if self.spec.text_pair is not None else ""
        return [
            f"rows        {sum(self.sizes.values()):,}; columns {listed(self.columns)}",
            f"text        {listed([self.guess.text])}{pair}: {self.text_lengths}",
            f"label       {listed([self.guess.label])}: {self.class_counts}",
            f"splits      {self.splits}",
            f"repeated    {self.repeated:,} rows have the text of an earlier row",
            f"max_length  {self.spec.max_length} tokens, by a rough count",
        ]

    @property
    def text_lengths(self) -> str:
        shortest, middle, longest = self.characters
        return f"{shortest:,} to {longest:,} characters, half of them at most {middle:,}"

    @property
    def class_counts(self) -> str:
        more = len(self.classes) - MOST_CLASSES_SHOWN
        shown = _each(self.classes[:MOST_CLASSES_SHOWN])
        return f"{len(self.classes)} classes: {shown}{f' and {more} more' if more > 0 else ''}"

    @property
    def splits(self) -> str:
        held_out = {"test": "a fifth of all rows is held out for test", "validation": "a tenth of train for validation"}
        column = f"by the column {listed([self.spec.split])}: " if self.spec.split is not None else ""
        return "; ".join(
            [column + _each(self.sizes.items()), *(held_out[name] for name in held_out if name not in self.sizes)]
        )


def understand(spec: FilesData, say: Callable[[str], None]) -> Understanding:
    """Guesses columns from the first rows, then reads and splits all rows as a study would.

    Raises:
        UserError: where a study could not use the data.
    """
    parts = open_parts(spec)
    table = next((table for table in parts[0].tables() if len(table)), None)
    if table is None:
        raise UserError(f"{parts[0].where}: there are no rows")
    guess = guess_columns(parts[0], table)
    chosen: dict[str, Any] = {"text": guess.text, "text_pair": guess.text_pair, "label": guess.label}
    if len(parts) == 1:
        chosen["split"] = guess.split
    spec = spec.model_copy(update=chosen)
    with TemporaryDirectory() as folder:
        rows = collect_rows(open_parts(spec), spec, Path(folder), say)
        max_length = _max_length(rows)
    repeated = len(rows) - len(np.unique(rows.keys))
    used = spec.model_copy(update={"deduplicate": repeated > 0, "max_length": max_length})
    make_splits(rows, used)
    counts = np.bincount(rows.labels, minlength=len(rows.label_names))
    lengths = np.quantile(rows.characters, (0, 0.5, 1))
    return Understanding(
        spec=used,
        guess=guess,
        columns=parts[0].columns,
        sizes={name: count for index, name in enumerate(SPLITS) if (count := int((rows.splits == index).sum()))},
        classes=sorted(zip(rows.label_names, counts.tolist(), strict=True), key=lambda item: -item[1]),
        characters=(int(lengths[0]), int(lengths[1]), int(lengths[2])),
        repeated=repeated,
    )


def _max_length(rows: Rows) -> int:
    sample = [text for text in next(rows.tables()).column("text").to_pylist() if text]
    bytes_per_character = sum(len(text.encode()) for text in sample) / max(1, sum(map(len, sample)))
    tokens = float(np.quantile(rows.characters, UNCUT)) * bytes_per_character / BYTES_PER_TOKEN + MARKS
    return next((length for length in MAX_LENGTHS if tokens <= length), MAX_LENGTHS[-1])


def _each(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{listed([name])} {count:,}" for name, count in counts)
