"""The rows of a source as tuneoff keeps them: texts in a file, what is decided by in arrays of a few bytes a row."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import regex
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.data.columns import Columns, choose_columns
from tuneoff.data.conventions import SPLIT_WORDS, SPLITS
from tuneoff.data.labels import Labels, spelt
from tuneoff.data.looks import Looks, look_at
from tuneoff.data.sources import BATCH_ROWS, Part

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.spec import DataSpec

FRACTION = regex.compile(r"(?<=^[+-]?[0-9]+)\.0+$")
DROP_EMPTY = "set data.drop_empty = true to leave such rows out, or fill it in"
NOT_A_WORD = regex.compile(r"(?:(?:[^\p{L}\p{M}\p{N}]|^)\p{M}*)+")
"""What is no letter or number, with marks that belong to it, as they do in emoji."""
PROGRESS_ROWS = 200_000
EMPTY, LABEL = "empty", "label"
"""Why rows are left out: `data.drop_empty`, `data.drop_labels`."""


@dataclass(frozen=True)
class Rows:
    """All rows of a source, numbered from 0; a row has text and label.

    Attributes:
        file: Parquet with the columns `text`, and where there are such, `text_pair` and `breakdown` (strings); and with
            `source_file` and `source_row`, where the user finds the row (see `tuneoff.data.sources.Part.places`).
        label_names: the classes, in order.
        labels: index into `label_names`, int32, shape (rows,); -1 where a row is left out.
        splits: index into `SPLITS` as the source has it, int8, shape (rows,); -1 where a row is left out.
        keys: hashes of text and pair, without spaces around them: equal keys are the same example. uint64, (rows,).
        loose_keys: the same without regard to case, punctuation and white space. uint64, shape (rows,).
        groups: hashes of the group column, uint64, shape (rows,); None where there is no such column.
        characters: length of text and pair, int32, shape (rows,).
        columns: what the source calls its columns.
        looks: what all columns of the part to train on look like.
        declared: names of classes that the source declares for whole numbers.
        dropped: by split, how many rows are left out, by reason: `EMPTY` or `LABEL`.
    """

    file: Path
    label_names: tuple[str, ...]
    labels: NDArray[np.int32]
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

    def places(self, numbers: Sequence[int]) -> list[str]:
        """Where the user finds some rows, such as `row 12 of reviews.csv`."""
        found: dict[int, str] = {}
        for table in self.tables(np.unique(np.array(numbers, dtype=np.int64)), ["source_file", "source_row"]):
            for row in table.to_pylist():
                found[row["row"]] = f"row {row['source_row']:,} of {row['source_file']}"
        return [found[number] for number in numbers]


def collect_rows(parts: Sequence[Part], spec: DataSpec, folder: Path, say: Callable[[str], None]) -> Rows:
    """Reads a source from beginning to end and writes its rows into `folder`.

    Raises:
        UserError: where a column is missing, a part is empty, a row has no text or label, or labels cannot be classes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [choose_columns(part, spec) for part in parts]
    for part, names in zip(parts, columns, strict=True):
        if (names.text_pair is None) != (columns[0].text_pair is None):
            raise UserError(
                f"{part.where}: examples are {'single texts' if names.text_pair is None else 'pairs'} here, unlike in "
                f"{parts[0].where}; name the columns with data.text and data.text_pair"
            )
    kept = ["text", *(name for name in ("text_pair", "breakdown") if getattr(columns[0], name) is not None)]
    schema = pa.schema(
        [*((name, pa.large_string()) for name in kept), ("source_file", pa.string()), ("source_row", pa.int64())]
    )
    labels: Labels | None = None
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
        for part, names in zip(parts, columns, strict=True):
            before, left = total, 0
            for table in part.tables():
                if not len(table):
                    continue
                looks = looks or look_at(part, table)
                labels = labels or Labels(columns[0].label, looks.other_labels(columns[0]))
                where, numbers = part.places(table, total - before)
                batch = _Batch.of(names, table, part.split, where, numbers, spec)
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
                raise UserError(f"{part.where}: there are no rows")
            if not left:
                raise UserError(
                    f"{part.where}: all {total - before:,} rows have no text or no label, and are left out "
                    "(data.drop_empty, data.drop_labels); leave this part out of [data], or give it labels"
                )
    assert looks is not None
    assert labels is not None
    codes, label_names = labels.ordered(np.concatenate(arrays["labels"]), parts[0])
    return Rows(
        file=file,
        label_names=label_names,
        labels=codes,
        splits=np.concatenate(arrays["splits"]),
        keys=np.concatenate(arrays["keys"]),
        loose_keys=np.concatenate(arrays["loose_keys"]),
        groups=np.concatenate(arrays["groups"]) if arrays["groups"] else None,
        characters=np.concatenate(arrays["characters"]),
        columns=columns[0],
        looks=looks,
        declared=parts[0].class_names.get(columns[0].label),
        dropped=dropped,
    )


@dataclass(frozen=True)
class _Batch:
    """Some rows of a part, checked; those that are left out have no texts, None for a label, and -1 for a split."""

    texts: list[str]
    pairs: list[str] | None
    labels: list[Any]
    breakdown: list[str] | None
    groups: list[str] | None
    splits: NDArray[np.int8]
    dropped: list[tuple[int, str]]
    """Split and reason of each row that is left out."""

    @classmethod
    def of(cls, names: Columns, table: pa.Table, split: str | None, where: str, rows: range, spec: DataSpec) -> _Batch:
        values = {name: table.column(name).to_pylist() for name in names.used}
        needed = [values[name] for name in (names.text, names.text_pair, names.label) if name is not None]
        out = _left_out(needed, values[names.label], spec)

        def filled(column: str, option: str, cure: str = "fill it in or remove the row") -> list[Any]:
            for number, value in enumerate(values[column]):
                if _missing(value) and number not in out:
                    raise UserError(f"{where}: row {rows[number]:,} has no {option}; {cure}")
            return values[column]

        def texts(column: str, option: str) -> list[str]:
            found = filled(column, option, DROP_EMPTY)
            return _texts(["" if number in out else value for number, value in enumerate(found)], where, column)

        if names.split is None:
            assert split is not None
            splits = np.full(len(table), SPLITS.index(split), dtype=np.int8)
        else:
            splits = _splits(filled(names.split, "split"), where, rows)
        dropped = [(int(splits[number]), reason) for number, reason in out.items()]
        splits[list(out)] = -1
        labels = filled(names.label, "label", DROP_EMPTY)
        return cls(
            texts=texts(names.text, "text"),
            pairs=None if names.text_pair is None else texts(names.text_pair, "pair"),
            labels=[None if number in out else label for number, label in enumerate(labels)],
            breakdown=None if names.breakdown is None else [str(value) for value in values[names.breakdown]],
            groups=None if names.group is None else [str(value) for value in filled(names.group, "group")],
            splits=splits,
            dropped=dropped,
        )

    @property
    def stripped(self) -> list[str]:
        """What tells examples apart."""
        if self.pairs is None:
            return [text.strip() for text in self.texts]
        return [f"{text.strip()}\0{pair.strip()}" for text, pair in zip(self.texts, self.pairs, strict=True)]

    @property
    def characters(self) -> NDArray[np.int32]:
        lengths = np.array([len(text) for text in self.texts], dtype=np.int32)
        return lengths if self.pairs is None else lengths + np.array([len(pair) for pair in self.pairs], dtype=np.int32)

    def kept(self, schema: pa.Schema, source_file: str, source_rows: range) -> pa.Table:
        import pyarrow as pa

        values: dict[str, Any] = {"text": self.texts, "text_pair": self.pairs, "breakdown": self.breakdown}
        values |= {"source_file": [source_file] * len(source_rows), "source_row": source_rows}
        return pa.table({name: values[name] for name in schema.names}, schema=schema)


def _left_out(needed: Sequence[list[Any]], labels: list[Any], spec: DataSpec) -> dict[int, str]:
    """Which rows of a batch are left out, and why.

    Args:
        needed: the columns of texts and labels.
        labels: the column of labels.
        spec: says what to leave out.
    """
    found: dict[int, str] = {}
    if spec.drop_labels:
        wanted = set(spec.drop_labels)
        found |= {number: LABEL for number, label in enumerate(labels) if wanted & _spellings(label)}
    if spec.drop_empty:
        for values in needed:
            empty = (number for number, value in enumerate(values) if _missing(value) or _blank(value))
            found |= dict.fromkeys(empty, EMPTY)
    return found


def _spellings(label: Any) -> set[str]:
    """A label as it stands there, and as a whole number where it is one, such as -1 for "-1.0"."""
    text = spelt(label)
    return set() if text is None else {text, text.strip(), FRACTION.sub("", text.strip())}


def _missing(value: Any) -> bool:
    return value is None or value != value  # not a number


def _blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def loosened(text: str) -> str:
    """A text without regard to case, punctuation, white space and ways of writing the same letter."""
    return NOT_A_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _texts(values: list[Any], where: str, column: str) -> list[str]:
    for value in values:
        if not isinstance(value, str):
            if isinstance(value, list | dict | bytes):
                kind = {list: "lists", dict: "tables", bytes: "bytes"}[type(value)]
                raise UserError(f"{where}: the column '{column}' holds {kind}, not texts; set data.text to another")
            return [item if isinstance(item, str) else str(item) for item in values]
    return values


def _splits(values: list[Any], where: str, rows: range) -> NDArray[np.int8]:
    found = [SPLIT_WORDS.get(str(value).strip().lower(), -1) for value in values]
    if -1 in found:
        place = found.index(-1)
        odd = str(values[place])[:60]
        raise UserError(
            f"{where}: the split column says {odd!r} in row {rows[place]:,}; it may say train, validation or test: set "
            "data.split to another column, or leave it out"
        )
    return np.array(found, dtype=np.int8)


def _hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
