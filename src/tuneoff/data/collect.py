"""Reads a source from beginning to end, some thousand rows at a time."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import regex
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.data.checked_rows import CheckedRows
from tuneoff.data.columns import choose_columns
from tuneoff.data.conventions import SPLITS
from tuneoff.data.looks import Looks, look_at
from tuneoff.data.rows import EMPTY, LABEL, Rows
from tuneoff.spec.data import TASKS

if TYPE_CHECKING:
    from tuneoff.data.label_reader import LabelReader
    from tuneoff.data.source_table import SourceTable
    from tuneoff.spec import DataSpec

NOT_A_WORD = regex.compile(r"(?:(?:[^\p{L}\p{M}\p{N}]|^)\p{M}*)+")
"""What is no letter or number, with marks that belong to it, as they do in emoji."""
IN_ASCII = {number: chr(number).lower() if chr(number).isalnum() else " " for number in range(128)}
"""What becomes of a letter of ASCII, where the pattern would take five times as long to find the same."""
PROGRESS_ROWS = 200_000


def collect_rows(sources: Sequence[SourceTable], spec: DataSpec, folder: Path, say: Callable[[str], None]) -> Rows:
    """Reads a source's tables from beginning to end and writes its rows into `folder`.

    Raises:
        UserError: where a column is missing, a table is empty, a row has no text or label, or labels are not what the
            task says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    task = TASKS.named(spec.task)
    columns = [choose_columns(source, spec) for source in sources]
    for source, names in zip(sources, columns, strict=True):
        if (names.text_pair is None) != (columns[0].text_pair is None):
            raise UserError(
                f"{source.where}: examples are {'single texts' if names.text_pair is None else 'pairs'} here, unlike "
                f"in {sources[0].where}; name the columns with data.text and data.text_pair"
            )
    kept = ["text", *(name for name in ("text_pair", "breakdown") if getattr(columns[0], name) is not None)]
    schema = pa.schema(
        [*((name, pa.large_string()) for name in kept), ("source_file", pa.string()), ("source_row", pa.int64())]
    )
    labels: LabelReader | None = None
    arrays: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("labels", "splits", "keys", "loose_keys", "groups", "characters")
    }
    total = 0
    looks: Looks | None = None
    dropped: dict[str, dict[str, int]] = {}
    file = folder / "rows.parquet"
    # Texts have no dictionary, because they are mostly unlike each other.
    with pq.ParquetWriter(
        file, schema, compression="zstd", compression_level=1, use_dictionary=["source_file"]
    ) as writer:
        for source, names in zip(sources, columns, strict=True):
            before, left = total, 0
            for table in source.tables():
                if not len(table):
                    continue
                looks = looks or look_at(source, table)
                labels = labels or task.reader(spec, columns[0].label, looks.other_labels(columns[0]))
                where, numbers = source.locate(table, total - before)
                batch = CheckedRows.of(names, table, source.split, where, numbers, spec)
                arrays["labels"].append(labels.codes(batch.labels, where, numbers))
                arrays["splits"].append(batch.splits)
                arrays["characters"].append(batch.characters)
                if batch.groups is not None:
                    arrays["groups"].append(_hashes(batch.groups))
                arrays["keys"].append(_hashes(batch.stripped))
                arrays["loose_keys"].append(_hashes([loosened(text) for text in batch.stripped]))
                writer.write_table(batch.kept(schema, where, numbers))
                if (total + len(table)) // PROGRESS_ROWS > total // PROGRESS_ROWS:
                    say(f"Preparing data: {total + len(table):,} rows read")
                for split, reason in batch.dropped:
                    by_reason = dropped.setdefault(SPLITS[split], {EMPTY: 0, LABEL: 0})
                    by_reason[reason] += 1
                total += len(table)
                left += int((batch.splits >= 0).sum())
            if total == before:
                raise UserError(f"{source.where}: there are no rows")
            if not left:
                raise UserError(
                    f"{source.where}: all {total - before:,} rows have no text or no label, and are left out "
                    "(data.drop_empty, data.drop_labels); leave this part out of [data], or give it labels"
                )
    assert looks is not None
    assert labels is not None
    read = labels.finish(np.concatenate(arrays["labels"]), sources[0])
    return Rows(
        file=file,
        label_names=read.names,
        labels=read.codes,
        label_table=read.table,
        strata=read.strata,
        splits=np.concatenate(arrays["splits"]),
        keys=np.concatenate(arrays["keys"]),
        loose_keys=np.concatenate(arrays["loose_keys"]),
        groups=np.concatenate(arrays["groups"]) if arrays["groups"] else None,
        characters=np.concatenate(arrays["characters"]),
        columns=columns[0],
        looks=looks,
        declared=sources[0].class_names.get(columns[0].label),
        dropped=dropped,
    )


def loosened(text: str) -> str:
    """A text without regard to case, punctuation, white space and ways of writing the same letter."""
    if text.isascii():
        return " ".join(text.translate(IN_ASCII).split())
    return NOT_A_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
