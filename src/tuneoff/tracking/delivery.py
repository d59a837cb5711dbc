"""News for one tracker, delivered by a thread of its own, so that a study does not wait for a server."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.core.errors import one_line

if TYPE_CHECKING:
    from tuneoff.tracking.base import Tracker
    from tuneoff.tracking.remembered import Remembered

MOST_WAITING = 1000
"""News that wait for a tracker while a study goes on; what comes after them is left to its end."""


@dataclass(frozen=True)
class News:
    """Something to track: its name, a hash of all that is told, and how it is told."""

    what: str
    digest: str
    track: Callable[[Tracker], None]


class Delivery:
    """Tells one tracker news in order, each of them once. The first failure ends it.

    Args:
        name: the tracker's.
        tracker: called by this thread alone, apart from `where`.
        remembered: what has been told already, which is not told again.
    """

    def __init__(self, name: str, tracker: Tracker, remembered: Remembered) -> None:
        self.name = name
        self.tracker = tracker
        self.failure: str | None = None
        self._remembered = remembered
        self._waiting: deque[News] = deque()
        self._busy = self._overfull = self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def tell(self, news: News, whatever_waits: bool = False) -> None:
        """Takes news without waiting for the tracker.

        Args:
            news: come after all that it has taken before.
            whatever_waits: whether it is taken however many wait. Otherwise it may be left out, and then so is what
                follows, so that the order is kept when all is told in the end.
        """
        with self._changed:
            self._overfull = self._overfull or len(self._waiting) >= MOST_WAITING
            if self._closed or self.failure or (self._overfull and not whatever_waits):
                return
            self._waiting.append(news)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"tuneoff {self.name}", daemon=True)
                self._thread.start()

    def wait(self, seconds: float | None = None) -> int:
        """Waits until all is delivered or the tracker has failed, or so long; returns how much is not delivered."""
        with self._changed:
            self._changed.wait_for(lambda: not self._undelivered or self.failure is not None, seconds)
            return self._undelivered

    def close(self) -> None:
        """Delivers nothing more, and does not wait for what is being delivered, which will not be remembered."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def _undelivered(self) -> int:
        return len(self._waiting) + self._busy

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                news = self._waiting.popleft()
                self._busy = True
            failure = self._deliver(news)
            with self._changed:
                self._busy = False
                self.failure = failure
                self._changed.notify_all()
            if failure is not None:
                return

    def _deliver(self, news: News) -> str | None:
        """Tracks what is not remembered, and remembers it; says why where that failed."""
        if self._remembered.has(self.name, news.what, news.digest):
            return None
        try:
            self._remembered.begin()
            news.track(self.tracker)
            if not self._closed:
                self._remembered.note(self.name, news.what, news.digest)
        except Exception as error:  # whatever a tracker's library raises; results are stored and must not suffer
            return f"{news.what} was not tracked: {one_line(error)}"
        return None
