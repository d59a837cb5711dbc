"""What data looks like that nobody has described: rows, columns, classes, lengths, splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.texts import counted, in_line
from tuneoff.data.collect import collect_rows
from tuneoff.data.conventions import SPLITS
from tuneoff.data.formats.detect import detect_format
from tuneoff.data.guess import MULTI, REGRESSION, SINGLE, Guess, guess_columns
from tuneoff.data.label_sets import LISTS
from tuneoff.data.label_signs import means_none, ordered, sentinels, several_in_one
from tuneoff.data.notes import notes_on
from tuneoff.data.rows import EMPTY, LABEL, Rows
from tuneoff.data.source_table import SourceTable
from tuneoff.data.splits import make_splits

if TYPE_CHECKING:
    from tuneoff.data.sources.files import FilesData

MAX_LENGTHS = (32, 64, 128, 256, 512)
BYTES_PER_TOKEN = 3.5
"""Fewer than usual (English has about 4.5), so that estimates are rather too long."""
MARKS = 4
"""Tokens that a tokenizer puts around one text or two."""
UNCUT = 0.99
"""Fraction of texts that `max_length` shall not cut."""
MOST_CLASSES_SHOWN = 12


@dataclass(frozen=True)
class Understanding:
    """What was found in data.

    Attributes:
        spec: `[data]` as it will be written.
        guess: which columns hold what.
        columns: of the training data.
        total: rows in the data.
        sizes: rows that a study uses by split, as the data has them.
        study_sizes: rows of each split of a study.
        labels: what they are: classes or labels with the rows that a study uses of each, most first, or numbers.
        characters: the shortest, the middle and the longest text.
        tokens: that nearly all texts have at most, by a rough count.
        repeated: rows whose text an earlier row has; and of them, those whose label is not that of the first one.
        dropped: rows without text or label, and rows with a label that means none, which are left out.
        notes: what could be meant otherwise, and what to look at; a line each.
    """

    spec: FilesData
    guess: Guess
    columns: tuple[str, ...]
    total: int
    sizes: dict[str, int]
    study_sizes: dict[str, int]
    labels: str
    characters: tuple[int, int, int]
    tokens: int
    repeated: tuple[int, int]
    dropped: tuple[int, int]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """What was understood, for people."""
        pair = f" with {in_line([self.spec.text_pair])}" if self.spec.text_pair is not None else ""
        used = sum(self.sizes.values())
        of_all = "" if used == self.total else f" in the data, of which a study uses {used:,}"
        return [
            f"rows        {self.total:,}{of_all}; columns {in_line(self.columns)}",
            f"text        {in_line([self.guess.text])}{pair}: {self.text_lengths}",
            f"label       {in_line(self.guess.label_columns or [self.guess.label])}: {self.labels}",
            f"splits      {self.splits}",
            f"repeated    {self.repeats}",
            f"max_length  {self.spec.max_length} tokens, by a rough count{self._longer}",
            *(f"{'note':<11} {note}" for note in self.notes),
        ]

    @property
    def cuts(self) -> bool:
        """Whether more than a few texts are longer than what is read of a text at once."""
        return self.tokens > self.spec.max_length

    @property
    def _longer(self) -> str:
        if not self.cuts:
            return ""
        whole = "" if self.guess.text_pair is not None else "; long_texts = 'windows' would read them whole"
        return f"; texts have up to {self.tokens:,} and are cut there{whole}"

    @property
    def repeats(self) -> str:
        """How many rows repeat a text, and what becomes of labels that contradict."""
        again, against = self.repeated
        said = f"{again:,} {'row has' if again == 1 else 'rows have'} the text of an earlier row"
        if not against:
            return f"{said}{'; it is left out' if again == 1 else '; they are left out' if again else ''}"
        return f"{said}, {against:,} of them with another label; the first row of each text is kept, and its label"

    @property
    def text_lengths(self) -> str:
        shortest, middle, longest = self.characters
        return f"{shortest:,} to {longest:,} characters, half of them at most {middle:,}"

    @property
    def splits(self) -> str:
        column = f"by the column {in_line([self.spec.split])}: " if self.spec.split is not None else ""
        several = column or len(self.sizes) > 1
        given = column + _each(self.sizes.items()) if several else counted(self.sizes["train"], "row")
        shares = {"test": "a fifth of all rows for test", "validation": "a tenth of train for validation"}
        held_out = [shares[name] for name in shares if name not in self.sizes]
        if not held_out:
            return given
        return f"{given}; held out: {', '.join(held_out)}; that makes {_each(self.study_sizes.items())}"


def understand(spec: FilesData, say: Callable[[str], None]) -> Understanding:
    """Guesses columns that are not named from the first rows, then reads and splits all rows as a study would.

    Raises:
        UserError: where a study could not use the data.
    """
    spec = spec.model_copy(update={"format": detect_format(spec.paths)})
    sources, guess = _guess(spec)
    if not spec.format.header:
        uses = _uses(guess)
        names = tuple(uses.get(name, name) for name in sources[0].columns)
        asked = {option: uses[getattr(spec, option)] for option in guess.named}
        spec = spec.model_copy(update={**asked, "format": spec.format.model_copy(update={"columns": names})})
        sources, guess = _guess(spec)
    chosen: dict[str, object] = {"text": guess.text, "text_pair": guess.text_pair, "task": guess.task}
    chosen["label"] = guess.label_columns or guess.label
    if len(sources) == 1:
        chosen["split"] = guess.split
    if guess.task == REGRESSION:
        chosen["drop_labels"] = _no_numbers(sources, guess.label)
    spec = spec.model_copy(update={**chosen, "drop_empty": True})
    with TemporaryDirectory() as folder:
        rows = collect_rows(sources, spec, Path(folder), say)
        spec, rows = _of_their_task(spec, rows, lambda other: collect_rows(sources, other, Path(folder), say))
        meaningless = _meaningless(rows)
        if meaningless:
            spec = spec.model_copy(update={"drop_labels": tuple(meaningless)})
            rows = collect_rows(sources, spec, Path(folder), say)
        kept = np.flatnonzero(rows.splits >= 0)
        repeated = _repeated(rows.keys[kept], rows.labels[kept])
        empty, unlabelled = (sum(reasons[reason] for reasons in rows.dropped.values()) for reason in (EMPTY, LABEL))
        tokens = _tokens(rows, kept)
        used = spec.model_copy(
            update={"deduplicate": repeated[0] > 0, "max_length": _max_length(tokens), "drop_empty": empty > 0}
        )
        notes = tuple(notes_on(used, guess, rows, empty, unlabelled))
    members = make_splits(rows, used).members
    study = np.concatenate(list(members.values()))
    sizes = np.bincount(rows.splits[study], minlength=len(SPLITS)).tolist()
    lengths = np.quantile(rows.characters[study], (0, 0.5, 1))
    return Understanding(
        spec=used,
        guess=guess,
        columns=sources[0].columns,
        total=len(rows),
        sizes={name: count for name, count in zip(SPLITS, sizes, strict=True) if count},
        study_sizes={name: len(members[name]) for name in SPLITS},
        labels=_labels(rows, study),
        characters=(int(lengths[0]), int(lengths[1]), int(lengths[2])),
        tokens=tokens,
        repeated=repeated,
        dropped=(empty, unlabelled),
        notes=notes,
    )


def _guess(spec: FilesData) -> tuple[list[SourceTable], Guess]:
    sources = spec.open_tables()
    table = next((table for table in sources[0].tables() if len(table)), None)
    if table is None:
        raise UserError(f"{sources[0].where}: there are no rows")
    guess = guess_columns(sources[0], table, spec)
    # So that a class that saved data names has its name.
    return spec.model_copy(update={"label": guess.label}).open_tables(), guess


def _of_their_task(spec: FilesData, rows: Rows, read: Callable[[FilesData], Rows]) -> tuple[FilesData, Rows]:
    """The data as the names of all its classes say that it is: several labels in one text, or numbers to predict."""
    if spec.task != SINGLE:
        return spec, rows
    several = several_in_one(rows.label_names)
    if several is not None:
        spec = spec.model_copy(update={"task": MULTI, "label_separator": several[0] if several[0] != LISTS else None})
        return spec, read(spec)
    steps = ordered(rows.label_names, rows.columns.label)
    if steps is not None and steps.many:
        spec = spec.model_copy(update={"task": REGRESSION})
        return spec, read(spec)
    return spec, rows


def _meaningless(rows: Rows) -> list[str]:
    """Classes that mean that there is none."""
    return [] if rows.label_table is not None else sentinels(rows.label_names, _counts(rows), rows.declared)[0]


def _no_numbers(sources: Sequence[SourceTable], column: str) -> tuple[str, ...]:
    """Words in a column of numbers that mean that there is none, as they are spelt."""
    tables = (table for source in sources if column in source.columns for table in source.tables())
    found = (label for table in tables for label in table.column(column).unique().to_pylist())
    return tuple(dict.fromkeys(label for label in found if means_none(label)))


def _labels(rows: Rows, study: NDArray[np.int64]) -> str:
    """What the labels of a study's rows are."""
    codes = rows.labels[study]
    if rows.label_table is None:
        counts = np.bincount(codes, minlength=len(rows.label_names))
        return f"{len(counts)} classes: {_most_first(rows.label_names, counts)}"
    values = rows.label_table[codes]
    if values.shape[1] == 1:
        low, middle, high = np.quantile(values, (0, 0.5, 1))
        return f"numbers from {low:.6g} to {high:.6g}, half of them at most {middle:.6g} (data.task = 'regression')"
    each = values.sum(axis=1).mean()
    counts = values.sum(axis=0).astype(int)
    return (
        f"{len(counts)} labels, {each:.2g} an example (data.task = 'multi_label'): "
        f"{_most_first(rows.label_names, counts)}"
    )


def _most_first(names: Sequence[str], counts: NDArray[np.integer[Any]]) -> str:
    order = np.argsort(-counts, kind="stable")
    shown = _each((names[index], int(counts[index])) for index in order[:MOST_CLASSES_SHOWN])
    more = len(names) - MOST_CLASSES_SHOWN
    return f"{shown}{f' and {more} more' if more > 0 else ''}"


def _uses(guess: Guess) -> dict[str | None, str]:
    """Names for columns without a header, by what they are used for."""
    return {guess.text: "text", guess.text_pair: "text_pair", guess.label: "label", guess.split: "split"}


def _repeated(keys: NDArray[np.uint64], labels: NDArray[np.int32]) -> tuple[int, int]:
    """How many rows have the text of an earlier one, and how many of those another label than the first of it."""
    _, first, of_text = np.unique(keys, return_index=True, return_inverse=True)
    return len(keys) - len(first), int((labels != labels[first][of_text]).sum())


def _counts(rows: Rows) -> list[int]:
    """Rows of each class."""
    return np.bincount(rows.labels[rows.labels >= 0], minlength=len(rows.label_names)).tolist()


def _tokens(rows: Rows, kept: NDArray[np.int64]) -> int:
    sample = [text for text in next(rows.tables()).column("text").to_pylist() if text]
    bytes_per_character = sum(len(text.encode()) for text in sample) / max(1, sum(map(len, sample)))
    return round(float(np.quantile(rows.characters[kept], UNCUT)) * bytes_per_character / BYTES_PER_TOKEN + MARKS)


def _max_length(tokens: int) -> int:
    return next((length for length in MAX_LENGTHS if tokens <= length), MAX_LENGTHS[-1])


def _each(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{in_line([name])} {count:,}" for name, count in counts)
