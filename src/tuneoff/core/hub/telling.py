"""Whom the Hub's module tells what it does: downloads begin far below those who know the listener."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from tuneoff.core.files import folder_bytes

PROGRESS_SECONDS = 5.0

Say = Callable[[str], None]

_listener: ContextVar[Say | None] = ContextVar("tuneoff_hub_listener", default=None)


@contextmanager
def telling(say: Say) -> Iterator[None]:
    """What is done with the Hub inside the block is said to `say`, in whole lines."""
    token = _listener.set(say)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(message: str) -> None:
    """Says one line to whoever listens."""
    say = _listener.get()
    if say is not None:
        say(message)


@contextmanager
def counting(what: str, folder: Path, total: int) -> Iterator[None]:
    """Says every few seconds how much of `total` bytes has come into `folder` since the block began.

    The folder is looked at, rather than the libraries' own counts, since it grows by whatever way the bytes come.
    """
    say = _listener.get()
    if say is None:
        yield
        return
    before = _bytes(folder)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(PROGRESS_SECONDS):
            say(f"{what}: {size(min(_bytes(folder) - before, total))} of {size(total)}")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def size(count: int) -> str:
    """Bytes in words."""
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= bytes_:
            shown = count / bytes_
            return f"{shown:.1f} {unit}" if shown < 10 else f"{shown:,.0f} {unit}"
    return f"{count} bytes"


def _bytes(folder: Path) -> int:
    while True:
        try:
            return folder_bytes(folder) if folder.exists() else 0
        except FileNotFoundError:  # a temporary file that was there a moment ago
            continue
