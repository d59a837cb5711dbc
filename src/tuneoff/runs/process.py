"""One run's process on this machine: started from a fork server, watched, stopped, ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psutil

from tuneoff.core.errors import UserError
from tuneoff.core.processes import signals_held, without_main_module
from tuneoff.core.quantities import parse_bytes, parse_seconds
from tuneoff.records.measurements import PeakBytes
from tuneoff.records.run import UnfinishedStatus
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.task import Outcome, RunTask

SPINS = "GOMP_SPINCOUNT"
EXIT_SECONDS = 10.0
"""How long a process that has no connection to its driver any more may take to end."""
LOG_LINES = 3
LOG_BYTES = 1 << 16
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
CRASH_LINE = "Fatal Python error"
"""With this Python begins what it writes to the log in a crash; the stack follows."""


class ForkServer:
    """Starts processes that have imported what runs need, and that have touched no device."""

    def __init__(self) -> None:
        self.context: ForkServerContext = multiprocessing.get_context("forkserver")

    def warm_up(self) -> None:
        """Starts the server where none runs, so that its imports overlap with other work."""
        from multiprocessing import forkserver, resource_tracker

        # The tether is to the thread that starts the server, and only the main thread lasts as long as the driver.
        in_main_thread = threading.current_thread() is threading.main_thread()
        self.context.set_forkserver_preload([f"tuneoff.runs.preload{'_tethered' if in_main_thread else ''}"])
        resource_tracker.ensure_running()
        with without_main_module(), signals_held(), _short_spins():
            try:
                forkserver.ensure_running()
            except OSError as error:
                if "AF_UNIX path too long" not in str(error):
                    raise
                raise UserError(
                    f"the folder for temporary files, {tempfile.gettempdir()}, has too long a name for a socket; set "
                    "TMPDIR to a shorter one, such as /tmp"
                ) from error


class RunProcess:
    """A run's process.

    Args:
        server: it is forked from.
        task: the run.
        visible_gpus: the CUDA devices that it sees (as `CUDA_VISIBLE_DEVICES`); all of them when None.
    """

    def __init__(self, server: ForkServer, task: RunTask, visible_gpus: str | None = None) -> None:
        self.task = task
        self._stopping = False
        self._peak_bytes = 0
        self._over: tuple[UnfinishedStatus, str] | None = None
        task.run_folder.mkdir(parents=True, exist_ok=True)
        server.warm_up()
        self._receiver, sender = server.context.Pipe()
        self._process = server.context.Process(target=_enter, args=(task, sender, visible_gpus), daemon=True)
        try:
            with without_main_module():
                self._process.start()
        except (EOFError, OSError) as error:
            raise UserError(f"no process could be started for run {task.run.id}: {error}") from error
        sender.close()
        self._started = time.monotonic()

    @property
    def waits(self) -> list[Connection | int]:
        """What `multiprocessing.connection.wait` can wait for; then there is something to `poll`."""
        return [self._receiver, self._process.sentinel]

    def poll(self) -> tuple[RunProgress | None, Outcome | None]:
        """How it goes, without waiting.

        Returns:
            How far the run is, where there is news of it; and the outcome, once it has ended. A process
            that dies without one, takes too long or uses too much memory has one with a status that says so.
        """
        progress: RunProgress | None = None
        alive = self._process.is_alive()  # asked first, so that the last words of one that has just ended are heard
        try:
            while self._receiver.poll():
                message = self._receiver.recv()
                if isinstance(message, Outcome):
                    return progress, message
                progress = message
        except (EOFError, OSError):
            self._process.join(EXIT_SECONDS)
            self._process.kill()
            self._process.join()
            alive = False
        if not alive:
            return progress, self._outcome_of_death()
        self._enforce_limits()
        return progress, None

    def stop(self) -> None:
        """Asks it to write a checkpoint after the step under way, and end."""
        self._stopping = True
        with suppress(OSError):  # it may be dead, which `poll` will tell
            self._receiver.send("stop")

    def close(self) -> None:
        """Ends it at once if it still lives."""
        self._process.kill()
        self._process.join()
        self._receiver.close()

    def _enforce_limits(self) -> None:
        limits = self.task.execution
        if limits.max_run_time is not None and time.monotonic() - self._started > parse_seconds(limits.max_run_time):
            self._over = ("timeout", f"took longer than execution.max_run_time = {limits.max_run_time}")
        elif limits.max_memory is not None and self.task.allocation.on_cpu:
            try:
                resident = psutil.Process(self._process.pid).memory_info().rss
            except psutil.NoSuchProcess:
                return
            self._peak_bytes = max(self._peak_bytes, resident)
            if resident > parse_bytes(limits.max_memory):
                self._over = ("oom", f"used more memory than execution.max_memory = {limits.max_memory}")
        if self._over is not None:
            self._process.kill()

    def _outcome_of_death(self) -> Outcome:
        """Of a process that has died without an outcome of its own."""
        status: UnfinishedStatus = "failed"
        error = _cause_of_death(self._process.exitcode)
        if self._over is not None:
            status, error = self._over
        elif self._stopping:
            status, error = "interrupted", "stopped on request"
        else:
            crashed = -(self._process.exitcode or 0) in CRASHES
            error = f"{error}; {_last_lines(self.task.log, crashed)}"
        peak = PeakBytes(train=self._peak_bytes or None, eval=None, reserved=None)
        allocation = self.task.allocation
        # Only its own process knows a GPU's name, and on a GPU nothing was measured from here.
        conditions = allocation.conditions(self.task.run.arm, gpu=None) if allocation.on_cpu else None
        return Outcome(self.task.unfinished(status, error, peak, conditions=conditions))


def _enter(task: RunTask, connection: Connection, visible_gpus: str | None) -> None:
    if visible_gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpus
    from tuneoff.core.parent_death import tether
    from tuneoff.runs.worker import run_in_process

    tether()
    run_in_process(task, connection)


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        names = {number.value: number.name for number in signal.Signals}  # of the real-time ones the first and the last
        name = names.get(-exit_code, f"signal {-exit_code}")
        hint = ", which the kernel does when memory runs out" if name == "SIGKILL" else ""
        return f"the run's process was killed by {name}{hint}"
    return f"the run's process died with exit code {exit_code}"


def _last_lines(log: Path, crashed: bool) -> str:
    """The end of a log, without the stack of a crash."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - LOG_BYTES))
            lines = handle.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    marks = [index for index, line in enumerate(lines) if crashed and line.startswith(CRASH_LINE)]
    lines = lines[: marks[-1] + 1] if marks else lines
    return f"its log ends: {' | '.join(lines[-LOG_LINES:])}" if lines else "its log is empty"


@contextmanager
def _short_spins() -> Iterator[None]:
    """Lets threads of processes that are started inside wait asleep, after a moment, unless the user says otherwise.

    GNU OpenMP, with which PyTorch computes on CPUs, has waiting threads spin for long. Where another program needs the
    cores as well, the one that is waited for gets none: steps took several times as long (docs/performance.md).
    """
    if SPINS in os.environ:
        yield
        return
    os.environ[SPINS] = "3000"
    try:
        yield
    finally:
        del os.environ[SPINS]
