"""The rows behind test examples: where the user finds them, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.core.errors import damaged

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


@dataclass(frozen=True)
class SourceRow:
    """A test example as the user has it.

    Attributes:
        file: the file or dataset; None for data that an older version has prepared.
        row: the row there, from 1; None likewise.
        text: whole.
        text_pair: the second text; None where an example is one text.
    """

    file: str | None
    row: int | None
    text: str
    text_pair: str | None


def source_rows(results: StudyResults, examples: Sequence[int]) -> list[SourceRow]:
    """The rows behind some test examples.

    Args:
        results: of the study.
        examples: rows of `data/test.parquet`, from 0.

    Raises:
        UserError: where that file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = results.folder / "data" / "test.parquet"
    try:
        there = pq.read_schema(path).names
        columns = [name for name in ("text", "text_pair", "source_file", "source_row") if name in there]
        table = pq.read_table(path, columns=columns).take(pa.array(examples, pa.int64()))
    except (OSError, pa.ArrowInvalid) as error:
        raise damaged(path, error) from error
    return [
        SourceRow(row.get("source_file"), row.get("source_row"), row["text"], row.get("text_pair"))
        for row in table.to_pylist()
    ]
