"""Rows of any number to rows with labels: read, tokenised and computed in pieces, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.serving.predictor import ONLY, Predictor

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.data.encode import Texts
    from tuneoff.data.tokens import Tokens
    from tuneoff.serving.text_rows import TextRows

PIECE_CHARACTERS = {"cpu": 1 << 19, "cuda": 1 << 23}
"""Of the texts that are computed between two looks at progress: tens of full batches."""
DIGITS = 6
"""Of probabilities."""
FIGURES = 7
"""Of numbers, as many as float32 has."""
LABEL, PROBABILITY, PREDICTED = "label", "probability", "predicted"
SEPARATOR = "; "
"""Between several labels of a text."""


@dataclass(frozen=True)
class LabelledRows:
    """Some rows in order, with what models say of them.

    Attributes:
        table: the rows' own columns and new ones; what is new is missing where a row has no text.
        without_text: how many such rows there are.
        first_without: where the first of them is; None where there is none.
    """

    table: pa.Table
    without_text: int
    first_without: str | None


@dataclass(frozen=True)
class _Piece:
    """Rows that are read and tokenised; `kept` are those that have tokens, shape (rows,)."""

    table: pa.Table
    kept: NDArray[np.bool_]
    tokens: dict[str, Tokens]
    first_without: str | None


class Labeller:
    """Asks models about rows.

    Args:
        predictor: the models.
        rows: where texts are.
        probabilities: whether each class has a column of its own.

    Raises:
        UserError: where new columns would be called as others are.
    """

    def __init__(self, predictor: Predictor, rows: TextRows, probabilities: bool = False) -> None:
        self._predictor = predictor
        self._rows = rows
        self._probabilities = probabilities
        own = {name: _new_columns(predictor, name, probabilities) for name in predictor.names}
        columns = rows.table.columns
        repeated = next((name for name in columns if columns.count(name) > 1), None)
        if repeated is not None:
            raise UserError(f"{rows.table.where}: several columns are called '{repeated}'; rename all but one")
        taken = set(columns)
        if any(taken & set(columns) for columns in own.values()):
            own = {name: [f"{PREDICTED}_{column}" for column in columns] for name, columns in own.items()}
        self._new = own
        names = [*rows.table.columns, *(column for columns in own.values() for column in columns)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{rows.table.where}: two columns would be called '{twice}'; rename that of the file")
        self.columns = tuple(names)
        """Of labelled rows, in order."""

    @property
    def new(self) -> dict[str, list[str]]:
        """The columns that are added, by model: its label, a class's probability, and those of classes or labels."""
        return self._new

    def labelled(self, skip: int = 0) -> Iterator[LabelledRows]:
        """Labels rows in pieces, which are the same whenever they are read.

        Args:
            skip: how many rows to leave out, which ended with a piece.

        Raises:
            UserError: where a row cannot be read, or its text is none.
        """
        pieces = self._pieces(skip)
        for piece in pieces if self._rows.waits else _ahead(pieces):
            table = piece.table
            for name in self._predictor.names:
                table = self._with_answers(table, piece, name)
            yield LabelledRows(table, int((~piece.kept).sum()), piece.first_without)

    def _with_answers(self, table: pa.Table, piece: _Piece, name: str) -> pa.Table:
        import pyarrow as pa

        task, names = self._predictor.task(name), self._predictor.saved[name].texts.label_names
        out = ~piece.kept
        logits = np.zeros((len(table), len(names)), dtype=np.float32)
        if piece.kept.any():
            logits[piece.kept] = self._predictor.compute(name, piece.tokens[name])
        answers = task.answers(logits)
        chances = task.probabilities(logits).round(DIGITS)
        values: list[Any] = [pa.array(chances[:, index], mask=out) for index in range(chances.shape[1])]
        if task.kind == "class":
            values.insert(0, pa.array(chances[np.arange(len(chances)), answers], mask=out))
        if chances.shape[1]:
            words = [SEPARATOR.join(each) if isinstance(each, tuple) else each for each in task.given(answers, names)]
            values.insert(0, pa.array(words, pa.string(), mask=out))
        else:
            values.insert(0, pa.array([float(f"{answer:.{FIGURES}g}") for answer in answers], pa.float64(), mask=out))
        for column, value in zip(self._new[name], values, strict=False):  # without those that are not asked for
            table = table.append_column(column, value)
        return table

    def _pieces(self, skip: int) -> Iterator[_Piece]:
        before = 0
        most = PIECE_CHARACTERS[self._predictor.device.type]
        for table in self._rows.table.tables():
            texts: list[Any] = self._texts(table, self._rows.text)
            if self._rows.text_pair is not None:
                texts = list(zip(texts, self._texts(table, self._rows.text_pair), strict=True))
            for start, end in _spans(texts, most):
                if before + start >= skip:
                    yield self._piece(table, start, end, texts[start:end], before)
            before += len(table)

    def _piece(self, table: pa.Table, start: int, end: int, texts: list[Any], before: int) -> _Piece:
        kept = np.array([_is_given(text) for text in texts])
        tokens: dict[str, Tokens] = {}
        if kept.any():
            own: Texts = [text for text, has in zip(texts, kept, strict=True) if has]
            tokens = self._predictor.tokenise(own)
            says = self._predictor.says_something
            some = np.all([says(name, own, each.lengths) for name, each in tokens.items()], axis=0)
            if not some.all():
                kept[kept] = some
                chosen = np.flatnonzero(some)
                tokens = {name: each.take(chosen) for name, each in tokens.items()}
        first = None
        if not kept.all():
            where, numbers = self._rows.table.locate(table, before)
            first = f"row {numbers[start + int(np.argmin(kept))]:,} of {where}"
        return _Piece(table.slice(start, end - start), kept, tokens, first)

    def _texts(self, table: pa.Table, column: str) -> list[str | None]:
        values = table.column(column).to_pylist()
        for value in values:
            if isinstance(value, list | dict | bytes):
                raise UserError(
                    f"{self._rows.table.where}: the column '{column}' holds lists or bytes, not texts; name another "
                    "with --text"
                )
        return [None if value is None or value != value else str(value) for value in values]


def _new_columns(predictor: Predictor, name: str, probabilities: bool) -> list[str]:
    before = f"{name}_" if name != ONLY else ""
    task, names = predictor.task(name), predictor.saved[name].texts.label_names
    outputs = names if probabilities and task.kind != "number" else ()
    certain = [f"{before}{PROBABILITY}"] if task.kind == "class" else []
    return [f"{before}{LABEL}", *certain, *(f"{before}{PROBABILITY}_{label}" for label in outputs)]


def _is_given(text: str | tuple[str | None, str | None] | None) -> bool:
    return None not in text if isinstance(text, tuple) else text is not None


def _spans(texts: list[Any], most: int) -> Iterator[tuple[int, int]]:
    """Where pieces of about `most` characters begin and end."""
    start = filled = 0
    for row, text in enumerate(texts, start=1):
        filled += sum(len(part or "") for part in (text if isinstance(text, tuple) else (text,)))
        if filled >= most or row == len(texts):
            yield start, row
            start, filled = row, 0


def _ahead(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """The same pieces; a thread reads and tokenises the next while one is computed."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = pool.submit(next, pieces, None)
            yield piece
