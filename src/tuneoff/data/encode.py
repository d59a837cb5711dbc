"""Texts to token ids, in this process or in several. Imports no torch and no transformers, to keep workers small."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.long_texts import BY_TOKENIZER, OVER_WINDOWS, LongTexts
from tuneoff.core.parent_death import tether
from tuneoff.core.processes import leave_signals_to_the_driver, signals_held, without_main_module
from tuneoff.measure.environment import usable_cores
from tuneoff.models.guard import told_in_one_line

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

WORTH_WORKERS = 50_000
"""Texts from which on the start of worker processes pays."""
AT_ONCE = 256
"""Texts that the tokenizer is given at once, since what it keeps of a token is a hundred times its number."""
WAITING_BATCHES = 3
"""Batches a worker may have waiting for it; more would only take memory."""

Texts = list[str] | list[tuple[str, str]]


@dataclass(frozen=True)
class Encoded:
    """Some encoded examples.

    Attributes:
        ids: token ids end to end, int32, shape (tokens,).
        lengths: tokens of each, int32, shape (examples,).
        second_starts: tokens of each before those of its second text, its length where it has none; likewise.
        lost: tokens of each that go unread, int32, shape (examples,).
        windows: tokens of the windows that texts are read in, end to end, int32; one a text that is not
            read in windows, none of a text without tokens.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    second_starts: NDArray[np.int32]
    lost: NDArray[np.int32]
    windows: NDArray[np.int32]


class Encoder:
    """A tokenizer with its special tokens.

    Args:
        definition: the tokenizer as JSON (`Tokenizer.to_str`), which says how many tokens are read at once.
        long_texts: what is read of longer texts; those that are not single are cut by the tokenizer.
    """

    def __init__(self, definition: str, long_texts: LongTexts = "head") -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Tokenizer = Tokenizer.from_str(definition)
        self._long_texts = long_texts
        truncation = self._tokenizer.truncation
        assert truncation is not None
        self._most: int = truncation["max_length"]
        if long_texts == "tail":
            self._tokenizer.enable_truncation(self._most, strategy=truncation["strategy"], direction="left")
        elif long_texts not in BY_TOKENIZER:
            self._tokenizer.no_truncation()

    def __call__(self, texts: Texts) -> Encoded:
        """Encodes texts, or pairs of them."""
        pieces = [self._encode(texts[start : start + AT_ONCE]) for start in range(0, len(texts), AT_ONCE)]
        return Encoded(
            *(np.concatenate(arrays) for arrays in zip(*(vars(piece).values() for piece in pieces), strict=True))
        )

    def marks(self, pairs: bool) -> int:
        """Tokens that it puts around a text or a pair of them, whatever they say."""
        return self._tokenizer.num_special_tokens_to_add(pairs)

    def _encode(self, texts: Texts) -> Encoded:
        pairs = isinstance(texts[0], tuple)
        with told_in_one_line(
            "the model's tokenizer cannot encode the texts; mend its tokenizer.json, or choose another"
        ):
            rows = self._tokenizer.encode_batch_fast(texts)
        if self._long_texts not in BY_TOKENIZER:
            return self._cut(rows)
        lengths = np.array([len(row.ids) for row in rows], dtype=np.int32)
        second_starts = np.array([_second(row.type_ids) for row in rows], dtype=np.int32) if pairs else lengths
        added = self.marks(pairs)
        return Encoded(
            ids=np.fromiter(chain.from_iterable(row.ids for row in rows), dtype=np.int32, count=int(lengths.sum())),
            lengths=lengths,
            second_starts=second_starts,
            lost=np.array([sum(len(piece.ids) - added for piece in row.overflowing) for row in rows], dtype=np.int32),
            windows=lengths[lengths > 0],
        )

    def _cut(self, rows: list[Encoding]) -> Encoded:
        """Whole texts, cut into what is read of them, each piece with the tokens that stand around any text."""
        read, lost = [], []
        for row in rows:
            marks = np.array(row.special_tokens_mask)
            begin, end = (int(marks.argmin()), len(marks) - int(marks[::-1].argmin())) if not marks.all() else (0, 0)
            ids = np.array(row.ids, dtype=np.int32)
            before, own, after = (ids[:begin], ids[begin:end], ids[end:]) if end else (ids, ids[:0], ids[:0])
            room = self._most - len(before) - len(after)
            pieces = [own]
            if len(own) > room:
                pieces = _windows(own, room) if self._long_texts in OVER_WINDOWS else [_head_and_tail(own, room)]
            read.append([np.concatenate([before, piece, after]) for piece in pieces])
            lost.append(len(own) - sum(map(len, pieces)))
        lengths = np.array([sum(map(len, pieces)) for pieces in read], dtype=np.int32)
        windows = [piece for pieces in read for piece in pieces]
        return Encoded(
            ids=np.concatenate(windows),
            lengths=lengths,
            second_starts=lengths,
            lost=np.array(lost, dtype=np.int32),
            windows=np.array([len(window) for window in windows if len(window)], dtype=np.int32),
        )


def _head_and_tail(ids: NDArray[np.int32], room: int) -> NDArray[np.int32]:
    tail = room // 2
    return np.concatenate([ids[: room - tail], ids[len(ids) - tail :]])


def _windows(ids: NDArray[np.int32], room: int) -> list[NDArray[np.int32]]:
    """As few windows as hold all, of lengths that differ by one token at most: none has too little to say."""
    return np.array_split(ids, -(-len(ids) // room))


def _second(type_ids: list[int]) -> int:
    return type_ids.index(1) if 1 in type_ids else len(type_ids)


def encode_all(
    batches: Iterator[Texts], definition: str, texts: int, long_texts: LongTexts = "head"
) -> Iterator[Encoded]:
    """Encodes batches in order; with worker processes, one a core, where there are many texts.

    Args:
        batches: of at least one text; read only a little ahead of what is yielded.
        definition: see `Encoder`.
        texts: how many there are in all.
        long_texts: what is read of long ones.

    Raises:
        UserError: where a worker process dies.
    """
    workers = usable_cores() if texts >= WORTH_WORKERS else 1
    if workers == 1:
        yield from map(Encoder(definition, long_texts), batches)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_set_up, initargs=(definition, long_texts))
    try:
        with without_main_module(), signals_held():
            for _ in range(workers):  # each starts a process
                pool.submit(int)
        yield from _in_order(pool, batches, workers * WAITING_BATCHES)
    except BrokenProcessPool as error:
        raise UserError("a process that tokenises died; perhaps memory ran out") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, batches: Iterator[Texts], most_waiting: int) -> Iterator[Encoded]:
    waiting: deque[Future[Encoded]] = deque()
    for batch in batches:
        waiting.append(pool.submit(_encode, batch))
        if len(waiting) >= most_waiting:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_encoder: Callable[[Any], Encoded]


def _set_up(definition: str, long_texts: LongTexts) -> None:
    global _encoder
    leave_signals_to_the_driver()
    tether()
    _encoder = Encoder(definition, long_texts)


def _encode(texts: Texts) -> Encoded:
    return _encoder(texts)
