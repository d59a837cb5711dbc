"""Writing splits: texts and hashes as Parquet, tokens as arrays."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.long_texts import OVER_WINDOWS, LongTexts
from tuneoff.data.conventions import SPLITS
from tuneoff.data.encode import Encoded, Texts, encode_all
from tuneoff.data.parts import split_path, tokens_path
from tuneoff.data.splits import Splits
from tuneoff.data.tokens import Tokens, writing_tokens
from tuneoff.data.units import Numbers

PROGRESS_SECONDS = 5.0
MOST_ROWS_NAMED = 5
FEW_VALUES = ["label", "source_file"]
"""Columns that Parquet keeps a dictionary of."""

Say = Callable[[str], None]
Encode = Callable[[Iterator[Texts], Numbers], Iterator[Encoded]]
"""Encodes batches of texts, which are those of the rows with these numbers."""


@dataclass(frozen=True)
class WrittenSplit:
    """What is known of a split once it is written: tokens, their hash, and how many each text lost, shape (rows,)."""

    tokens: int
    digest: str
    lost: NDArray[np.int32]

    @property
    def cut_texts(self) -> int:
        """Texts that lost tokens."""
        return int((self.lost > 0).sum())


def write_parts(
    parts: Mapping[str, Splits], folder: Path, definition: str, long_texts: LongTexts, say: Say
) -> dict[str, dict[str, WrittenSplit]]:
    """Writes the splits of all parts into a folder, at `tuneoff.data.parts.split_path` and `tokens_path`.

    Each text is tokenised once, and a split that parts share is written once. `test.parquet` holds all test examples
    that are analysed together, those of folds in the order of folds.

    Args:
        parts: from `tuneoff.data.parts.make_parts`.
        folder: is there.
        definition: of the tokenizer, see `tuneoff.data.encode.Encoder`.
        long_texts: what is read of long ones.
        say: told what goes on.

    Returns:
        What was written, by part and split.
    """
    written: dict[str, WrittenSplit] = {}
    several = len(parts) > 1
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        encode = _tokenising(definition, long_texts)
        if several:
            encode = _tokenised_once(parts, Path(scratch), encode, long_texts, say)
        for part, splits in parts.items():
            for name in SPLITS:
                path = split_path(part, name)
                if path not in written:
                    tokens = tokens_path(part, name, long_texts)
                    if not several:
                        say(f"Preparing data: tokenising {tokens}")
                    written[path] = _write_split(splits, name, folder / path, folder / tokens, encode, long_texts, say)
    tests = dict.fromkeys(split_path(part, "test") for part in parts)
    if len(tests) > 1 and not (folder / "test.parquet").exists():
        _join_files([folder / f"{test}.parquet" for test in tests], folder / "test.parquet")
    return {part: {name: written[split_path(part, name)] for name in SPLITS} for part in parts}


def _tokenised_once(
    parts: Mapping[str, Splits], folder: Path, encode: Encode, long_texts: LongTexts, say: Say
) -> Encode:
    """Tokenises the texts of all parts, for parts to take theirs from."""
    rows = next(iter(parts.values())).rows
    numbers = np.unique(np.concatenate([members for splits in parts.values() for members in splits.members.values()]))
    say("Preparing data: tokenising all texts")
    every = Splits(rows, {"all": numbers}, {})
    lost = _write_split(every, "all", folder / "all", folder / "all", encode, long_texts, say).lost
    return _looking_up(Tokens.load(folder / "all", long_texts), numbers, lost)


def _tokenising(definition: str, long_texts: LongTexts) -> Encode:
    """Encodes with a tokenizer; see `tuneoff.data.encode.Encoder`."""
    return lambda batches, numbers: encode_all(batches, definition, len(numbers), long_texts)


def _looking_up(tokens: Tokens, rows: Numbers, lost: NDArray[np.int32]) -> Encode:
    """Takes tokens out of those that were made before.

    Args:
        tokens: of `rows`.
        rows: numbers of rows, ascending; all that will be looked up are among them.
        lost: how many tokens each of them lost, shape (rows,).
    """

    def encode(batches: Iterator[Texts], numbers: Numbers) -> Iterator[Encoded]:
        done = 0
        for batch in batches:
            positions = np.searchsorted(rows, numbers[done : done + len(batch)])
            done += len(batch)
            yield tokens.take(positions).encoded(lost[positions])

    return encode


def _write_split(
    splits: Splits, name: str, path: Path, folder: Path, encode: Encode, long_texts: LongTexts, say: Say
) -> WrittenSplit:
    """Writes a split's tokens into `folder`, and its texts, labels and hashes at `path`, as Parquet of that name."""
    import pyarrow.parquet as pq

    numbers, labels = splits.members[name], splits.labels(name)
    file = path.with_name(f"{path.name}.parquet")
    file.parent.mkdir(parents=True, exist_ok=True)
    # Filled, rather than a list of pieces: those would be kept between larger ones that are freed, and hold their room.
    lost = np.empty(len(labels), dtype=np.int32)
    done, began = 0, time.monotonic()
    said = began
    pairs = splits.rows.columns.text_pair is not None
    with writing_tokens(folder, pairs, long_texts in OVER_WINDOWS) as writer:
        for encoded in encode(_texts(splits, name, file), numbers):
            end = done + len(encoded.lengths)
            _check_tokens(encoded, splits, numbers[done:end])
            writer.append(encoded, labels[done:end])
            lost[done:end] = encoded.lost
            done = end
            now = time.monotonic()
            if now - said > PROGRESS_SECONDS and done < len(labels):
                left = (now - began) / done * (len(labels) - done)
                say(f"Preparing data: tokenised {done:,} of {len(labels):,} {name} texts, {left:.0f} s left")
                said = now
    assert pq.read_metadata(file).num_rows == done == len(labels)
    return WrittenSplit(writer.tokens, writer.digest, lost)


def _check_tokens(encoded: Encoded, splits: Splits, numbers: Numbers) -> None:
    """Refuses examples without a token, of which a model can make nothing."""
    empty = numbers[np.flatnonzero(encoded.lengths == 0)]
    if len(empty):
        rows = ", ".join(splits.rows.locate(empty[:MOST_ROWS_NAMED].tolist()))
        more = f" and {len(empty) - MOST_ROWS_NAMED:,} more" if len(empty) > MOST_ROWS_NAMED else ""
        raise UserError(
            f"the tokenizer makes no token of the text of {rows}{more}; set data.drop_empty = true to "
            "leave out texts of white space, or remove such rows"
        )


def _texts(splits: Splits, name: str, file: Path) -> Iterator[Texts]:
    """A split's texts, or pairs of them, each batch of which is written to a file first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = splits.rows
    writer = None
    try:
        for table in splits.tables(name):
            numbers = table.column("row").to_numpy()
            table = table.append_column("label", pa.array(rows.labels[numbers]))
            table = table.append_column("key", pa.array(rows.keys[numbers]))
            if writer is None:
                writer = pq.ParquetWriter(file, table.schema, compression="zstd", use_dictionary=FEW_VALUES)
            writer.write_table(table)
            texts = table.column("text").to_pylist()
            pairs = table.column("text_pair").to_pylist() if "text_pair" in table.column_names else None
            yield texts if pairs is None else list(zip(texts, pairs, strict=True))
    finally:
        if writer is not None:
            writer.close()


def _join_files(files: list[Path], joined: Path) -> None:
    """Writes the rows of Parquet files with the same columns into one, in order."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(joined, pq.read_schema(files[0]), compression="zstd", use_dictionary=FEW_VALUES) as writer:
        for file in files:
            writer.write_table(pq.read_table(file))
