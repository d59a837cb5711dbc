"""Carrying out runs one after another, each in a fresh process from a fork server."""

from __future__ import annotations

import multiprocessing
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tuneoff.study.plan import Outcome, RunTask


class RunProcesses:
    """Starts a fresh process a run from a server that has imported what runs need (and touched no device)."""

    def __init__(self) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tuneoff.study.preload"])

    def warm_up(self) -> None:
        """Starts the server, so that its imports overlap with the preparation of data."""
        from multiprocessing import forkserver

        with _without_main_module():
            forkserver.ensure_running()

    def carry_out(self, task: RunTask, on_step: Callable[[int], None]) -> Outcome:
        """Runs `task` to its end.

        Args:
            task: the run.
            on_step: called now and then with the number of optimiser steps done.

        Returns:
            The outcome; a process that dies without one becomes a failed result with its exit code.
        """
        task.run_folder.mkdir(parents=True, exist_ok=True)
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_enter, args=(task, sender), daemon=True)
        with _without_main_module():
            process.start()
        sender.close()
        try:
            return _listen(task, process, receiver, on_step)
        finally:
            process.kill()
            process.join()
            receiver.close()


def _enter(task: RunTask, connection: Connection) -> None:
    from tuneoff.study.worker import run_in_process  # imported by the fork server, never by the driver

    run_in_process(task, connection)


def _listen(task: RunTask, process: BaseProcess, receiver: Connection, on_step: Callable[[int], None]) -> Outcome:
    while True:
        wait([receiver, process.sentinel])
        try:
            message: Any = receiver.recv() if receiver.poll() else None
        except EOFError:
            message = None
        if isinstance(message, Outcome):
            return message
        if message is None:
            process.join()
            log = task.run_folder / "log.txt"
            error = f"the run's process died with exit code {process.exitcode}; {_last_line(log)}"
            return Outcome({**task.identity(), "status": "failed", "error": error})
        on_step(message)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return f"its log ends: {lines[-1]}" if lines else "its log is empty"


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Keeps multiprocessing from importing the caller's script again in each run's process."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
