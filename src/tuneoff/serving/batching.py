"""Requests that come at once are computed together, in batches of so many tokens, by one thread."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import one_line
from tuneoff.data.tokens import Tokens, joined
from tuneoff.serving.metrics import Metrics
from tuneoff.serving.refusal import Refusal, overloaded

Logits = NDArray[np.float32]
Compute = Callable[[str, Tokens], Logits]
"""A model's name and tokens to logits, shape (texts, classes)."""


@dataclass(eq=False)
class _Request:
    """Texts of one request, of which the first `taken` are computed or being so."""

    model: str
    tokens: Tokens
    answer: asyncio.Future[Logits]
    came: float
    taken: int = 0
    logits: list[Logits] = field(default_factory=list)

    @property
    def texts(self) -> int:
        return len(self.tokens)

    def fitting(self, room: int) -> int:
        """How many of its next texts hold at most `room` tokens together."""
        offsets = self.tokens.offsets
        end = int(np.searchsorted(offsets, offsets[self.taken] + room, side="right")) - 1
        return end - self.taken


@dataclass(frozen=True)
class _Piece:
    """Some of a request's texts, in one batch."""

    request: _Request
    start: int
    end: int

    @property
    def tokens(self) -> int:
        offsets = self.request.tokens.offsets
        return int(offsets[self.end] - offsets[self.start])


class Batcher:
    """A thread that computes what waits; a request that comes alone is computed at once.

    The oldest request's model comes next. Its requests share a batch in the order in which they came; one that
    does not fit goes to the end with what is left of it, so that requests with many texts do not hold up the others.

    Args:
        compute: what gives logits; called by this thread alone.
        budget: tokens of a batch, unless one text has more.
        most_waiting: requests.
        metrics: count what waits and what is computed.
    """

    def __init__(self, compute: Compute, budget: int, most_waiting: int, metrics: Metrics) -> None:
        self._compute = compute
        self._budget = budget
        self._most_waiting = most_waiting
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="tuneoff-batches")
        self._metrics = metrics
        metrics.queue_requests.set_function(lambda: len(self._waiting))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for the batch that is being computed; what waits is dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether anything would be computed."""
        return self._thread.is_alive()

    async def logits(self, tokens: Tokens, model: str) -> Logits:
        """Logits of a request's texts, shape (texts, classes). Cancelled, it is not computed any more.

        Raises:
            Refusal: where too many wait, or the model fails.
        """
        answer: asyncio.Future[Logits] = asyncio.get_running_loop().create_future()
        request = _Request(model, tokens, answer, time.perf_counter())
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                raise overloaded(f"{self._most_waiting} requests wait already")
            self._waiting.append(request)
            self._changed.notify()
        try:
            return await answer
        except asyncio.CancelledError:
            self._drop(request)
            raise

    def _drop(self, request: _Request) -> None:
        with self._changed:
            if request in self._waiting:
                self._waiting.remove(request)

    def _work(self) -> None:
        while pieces := self._next():
            started = time.perf_counter()
            for piece in pieces:
                if piece.start == 0:
                    self._metrics.queue_seconds.observe(started - piece.request.came)
            self._carry_out(pieces)
            self._metrics.batch_seconds.observe(time.perf_counter() - started)
            self._metrics.batch_tokens.observe(sum(piece.tokens for piece in pieces))
            self._metrics.batch_texts.observe(sum(piece.end - piece.start for piece in pieces))

    def _next(self) -> list[_Piece]:
        """The next batch, once there is one; empty where there will be none."""
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return []
            model, room = self._waiting[0].model, self._budget
            pieces: list[_Piece] = []
            for request in [request for request in self._waiting if request.model == model]:
                count = request.fitting(room) or (0 if pieces else 1)
                if count == 0:
                    break
                piece = _Piece(request, request.taken, request.taken + count)
                pieces.append(piece)
                request.taken = piece.end
                self._waiting.remove(request)
                if request.taken < request.texts:
                    self._waiting.append(request)
                    break
                room -= piece.tokens
            return pieces

    def _carry_out(self, pieces: list[_Piece]) -> None:
        request = pieces[0].request
        try:
            logits = self._compute(request.model, _together(pieces))
            if not np.isfinite(logits).all():
                raise FloatingPointError("the model's scores are not numbers")
        except Exception as error:
            if len(pieces) > 1:  # those that are not the cause get their answers
                for piece in pieces:
                    self._carry_out([piece])
            else:
                print(f"tuneoff: '{request.model}' failed: {one_line(error)}", file=sys.stderr)
                self._drop(request)
                failure = Refusal(424, "backend", f"'{request.model}' failed ({type(error).__name__})")
                request.answer.get_loop().call_soon_threadsafe(_fail, request.answer, failure)
            return
        start = 0
        done = []
        for piece in pieces:
            end = start + piece.end - piece.start
            piece.request.logits.append(logits[start:end])
            if piece.end == piece.request.texts:
                done.append(piece.request)
            start = end
        self._metrics.texts.labels(request.model).inc(len(logits))
        if done:
            request.answer.get_loop().call_soon_threadsafe(_answer, done)


def _together(pieces: list[_Piece]) -> Tokens:
    return joined([piece.request.tokens.take(np.arange(piece.start, piece.end)) for piece in pieces])


def _answer(requests: list[_Request]) -> None:
    for request in requests:
        if not request.answer.done():  # it may be cancelled
            request.answer.set_result(np.concatenate(request.logits))


def _fail(answer: asyncio.Future[Logits], failure: Refusal) -> None:
    if not answer.done():
        answer.set_exception(failure)
