"""Who is told how a study goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tuneoff.records.run import RunResult
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.run import Run
    from tuneoff.study.ahead import Ahead


class Listener(Protocol):
    """Is told how a study goes on."""

    def say(self, message: str) -> None:
        """Something a reader of the log should know, in one line."""

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        """So many of what is called a "run" or a "trial" are planned, of which `done` are stored.

        The rest of them is `steps` optimiser steps, and `ahead` is what will be planned after them.
        """

    def run_started(self, run: Run) -> None:
        """A run begins."""

    def progressed(self, run: Run, progress: RunProgress) -> None:
        """A run has come so far, of `run.steps`; it may fall back where it starts again."""

    def run_finished(self, run: Run, result: RunResult) -> None:
        """A run has ended and its result is stored."""


class Silent:
    """A listener that keeps quiet."""

    def say(self, message: str) -> None: ...

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None: ...

    def run_started(self, run: Run) -> None: ...

    def progressed(self, run: Run, progress: RunProgress) -> None: ...

    def run_finished(self, run: Run, result: RunResult) -> None: ...


class Audience:
    """Several listeners as one, told in order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def say(self, message: str) -> None:
        for listener in self._listeners:
            listener.say(message)

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        for listener in self._listeners:
            listener.planned(runs, done, steps, what, ahead)

    def run_started(self, run: Run) -> None:
        for listener in self._listeners:
            listener.run_started(run)

    def progressed(self, run: Run, progress: RunProgress) -> None:
        for listener in self._listeners:
            listener.progressed(run, progress)

    def run_finished(self, run: Run, result: RunResult) -> None:
        for listener in self._listeners:
            listener.run_finished(run, result)
