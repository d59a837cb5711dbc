"""The rows of a source as tuneoff keeps them: texts in a file, what is decided by in arrays of a few bytes a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.columns import Columns
from tuneoff.data.looks import Looks
from tuneoff.data.source_table import BATCH_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

EMPTY, LABEL = "empty", "label"
"""Why rows are left out: `data.drop_empty`, `data.drop_labels`."""


@dataclass(frozen=True)
class Rows:
    """All rows of a source, numbered from 0; a row has text and label.

    Attributes:
        file: Parquet with the columns `text`, and where there are such, `text_pair` and `breakdown` (strings); and with
            `source_file` and `source_row`, where the user finds the row (see `SourceTable.locate`).
        label_names: of what a model learns to give, in order: classes, labels, or the one number.
        labels: a code of each different label, int32, shape (rows,); -1 where a row is left out. Of one class an
            example, the index into `label_names`.
        label_table: what each code stands for, shape (codes, names); None where a code is a class.
        strata: what rows are shared out by, int32, shape (rows,): their classes, where they have one each.
        splits: index into `SPLITS` as the source has it, int8, shape (rows,); -1 where a row is left out.
        keys: hashes of text and pair, without spaces around them: equal keys are the same example. uint64, (rows,).
        loose_keys: the same without regard to case, punctuation and white space. uint64, shape (rows,).
        groups: hashes of the group column, uint64, shape (rows,); None where there is no such column.
        characters: length of text and pair, int32, shape (rows,).
        columns: what the source calls its columns.
        looks: what all columns of the source to train on look like.
        declared: names of classes that the source declares for whole numbers.
        dropped: by split, how many rows are left out, by reason: `EMPTY` or `LABEL`.
    """

    file: Path
    label_names: tuple[str, ...]
    labels: NDArray[np.int32]
    label_table: NDArray[np.float64] | None
    strata: NDArray[np.int32]
    splits: NDArray[np.int8]
    keys: NDArray[np.uint64]
    loose_keys: NDArray[np.uint64]
    groups: NDArray[np.uint64] | None
    characters: NDArray[np.int32]
    columns: Columns
    looks: Looks
    declared: tuple[str, ...] | None
    dropped: dict[str, dict[str, int]]

    def __len__(self) -> int:
        return len(self.labels)

    def label_in_words(self, code: int) -> str:
        """What a label's code stands for: a class, several labels, or a number."""
        if self.label_table is None:
            return self.label_names[code]
        values = self.label_table[code]
        if len(values) == 1:
            return f"{values[0]:.6g}"
        return ", ".join(name for name, has in zip(self.label_names, values, strict=True) if has) or "none"

    def tables(
        self, chosen: NDArray[np.int64] | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """Reads rows in order, some thousand at a time.

        Args:
            chosen: numbers of the rows, ascending; all when None.
            columns: of the file; all when None.

        Yields:
            Tables that have the rows' numbers as `row` beside those columns.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        first = 0
        with pq.ParquetFile(self.file, pre_buffer=False) as file:  # which would keep all that has been read
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                numbers = np.arange(first, first + len(batch))
                first += len(batch)
                if chosen is not None:
                    numbers = chosen[
                        np.searchsorted(chosen, numbers[0]) : np.searchsorted(chosen, numbers[-1], "right")
                    ]
                    if not len(numbers):
                        continue
                table = pa.Table.from_batches([batch]).take(numbers - (first - len(batch)))
                yield table.append_column("row", pa.array(numbers))

    def locate(self, numbers: Sequence[int]) -> list[str]:
        """Where the user finds some rows, such as `row 12 of reviews.csv`."""
        found: dict[int, str] = {}
        for table in self.tables(np.unique(np.array(numbers, dtype=np.int64)), ["source_file", "source_row"]):
            for row in table.to_pylist():
                found[row["row"]] = f"row {row['source_row']:,} of {row['source_file']}"
        return [found[number] for number in numbers]
