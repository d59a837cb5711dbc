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
from tuneoff.core.parent_death import tether
from tuneoff.core.processes import leave_signals_to_the_driver, signals_held, without_main_module
from tuneoff.measure.environment import usable_cores
from tuneoff.models.guard import told_in_one_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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
        lost: tokens of each that were cut off, int32, shape (examples,).
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    second_starts: NDArray[np.int32]
    lost: NDArray[np.int32]


class Encoder:
    """A tokenizer with its special tokens.

    Args:
        definition: the tokenizer as JSON (`Tokenizer.to_str`), which says where it cuts.
    """

    def __init__(self, definition: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Tokenizer = Tokenizer.from_str(definition)

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
        lengths = np.array([len(row.ids) for row in rows], dtype=np.int32)
        second_starts = np.array([_second(row.type_ids) for row in rows], dtype=np.int32) if pairs else lengths
        added = self.marks(pairs)
        return Encoded(
            ids=np.fromiter(chain.from_iterable(row.ids for row in rows), dtype=np.int32, count=int(lengths.sum())),
            lengths=lengths,
            second_starts=second_starts,
            lost=np.array([sum(len(piece.ids) - added for piece in row.overflowing) for row in rows], dtype=np.int32),
        )


def _second(type_ids: list[int]) -> int:
    return type_ids.index(1) if 1 in type_ids else len(type_ids)


def encode_all(batches: Iterator[Texts], definition: str, texts: int) -> Iterator[Encoded]:
    """Encodes batches in order; with worker processes, one a core, where there are many texts.

    Args:
        batches: of at least one text; read only a little ahead of what is yielded.
        definition: see `Encoder`.
        texts: how many there are in all.

    Raises:
        UserError: where a worker process dies.
    """
    workers = usable_cores() if texts >= WORTH_WORKERS else 1
    if workers == 1:
        yield from map(Encoder(definition), batches)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_set_up, initargs=(definition,))
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


def _set_up(definition: str) -> None:
    global _encoder
    leave_signals_to_the_driver()
    tether()
    _encoder = Encoder(definition)


def _encode(texts: Texts) -> Encoded:
    return _encoder(texts)
