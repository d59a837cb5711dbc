"""What the tests of faults need to see and hurt: a study's processes, interruptions, full disks, results to the bit."""

from __future__ import annotations

import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from numpy.typing import NDArray

from commands import server_for, start_command
from tuneoff.core.processes import SIGNALS
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.run import Run
from tuneoff.study.listener import Silent

SABOTAGE = """
import os, signal, time

def exit_with_seven(*_):
    os._exit(7)

def allocate_without_end(*_):
    hoard = []
    while True:
        hoard.append(b"x" * (8 << 20))
        time.sleep(0.01)

def obey():
    signal.signal(signal.SIGUSR1, exit_with_seven)
    signal.signal(signal.SIGUSR2, allocate_without_end)

os.register_at_fork(after_in_child=obey)
"""
"""A sitecustomize.py that lets a test cause, inside a run's process, what a signal alone cannot."""


def stop_fork_server() -> None:
    """Ends this process's fork server, so that the next study starts one with the environment of that moment."""
    server: Any = multiprocessing.forkserver._forkserver
    if server._forkserver_pid is not None:
        os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()


def main_here(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """The exit code of the command line in this process, which spares it the imports."""
    from tuneoff.cli import main

    monkeypatch.setattr(sys, "argv", ["tuneoff", *arguments])
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        for number, handler in before.items():  # which a command leaves as they suit a process that ends
            signal.signal(number, handler)
    return ended.value.code


class Driver:
    """`tuneoff run STUDY --out OUT`, which leads a session of its own.

    Args:
        study: the study file.
        out: the study's folder.
        options: of the command.
        fresh: whether in an interpreter of its own, which imports first.
        environment: what differs from this process's.
    """

    def __init__(self, study: Path, out: Path, *options: str, fresh: bool = False, **environment: str) -> None:
        self._outputs = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  (open to the end)
        server = None if fresh else server_for("run")
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            streams = [nothing.fileno(), *(output.fileno() for output in self._outputs)]
            arguments = ["run", str(study), "--out", str(out), *options]
            whole = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
            self._command = start_command(arguments, study.parent, whole, streams, server, session=True)
        self.pid = self._command.pid

    def poll(self) -> int | None:
        """The exit code, or None while it goes on."""
        return self._command.poll()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended."""
        return self._command.wait(timeout)

    def kill(self) -> None:
        """Kills it alone, where it still goes on."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def printed(self) -> tuple[str, str]:
        """Its output and its error output so far."""
        out, err = (os.pread(output.fileno(), 1 << 24, 0).decode() for output in self._outputs)
        return out, err


def wait_until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Returns what `what` returns once that is true."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def run_process(driver: int, run_id: str) -> psutil.Process:
    """The process of a run, which has its log open."""
    servers = [child for child in psutil.Process(driver).children() if "forkserver" in " ".join(child.cmdline())]
    for process in (child for server in servers for child in server.children()):
        with suppress(psutil.Error):
            if any(f"/{run_id}/log.txt" in opened.path for opened in process.open_files()):
                return process
    raise LookupError(f"{run_id} has no process")


def run_processes(driver: int) -> list[psutil.Process]:
    """The processes of all runs of a driver."""
    servers = [child for child in psutil.Process(driver).children() if "forkserver" in " ".join(child.cmdline())]
    return [child for server in servers for child in server.children() if child.status() != psutil.STATUS_ZOMBIE]


def alive_in_session(session: int) -> list[psutil.Process]:
    """The processes of a session that are not dead."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


class Interrupter(Silent):
    """Presses Ctrl-C after a number of steps."""

    def __init__(self, after: int) -> None:
        self._after = after

    def progressed(self, run: Run, progress: RunProgress) -> None:
        if progress.steps >= self._after:
            self._after = sys.maxsize
            signal.raise_signal(signal.SIGINT)


def logits(folder: Path, run_id: str) -> NDArray[np.float32]:
    """A run's stored logits."""
    return np.stack(pd.read_parquet(folder / "runs" / run_id / "predictions.parquet")["logits"].tolist())


def assert_same_predictions(folder: Path, reference: Path, run_ids: list[str]) -> None:
    """That two studies' runs gave the same logits to the bit."""
    for run_id in run_ids:
        np.testing.assert_array_equal(logits(folder, run_id), logits(reference, run_id), err_msg=run_id)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A disk of a few kilobytes, mounted at `place`."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount(8) here")
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Fills the disk at `place` with one file, and returns it."""
    filler = place / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as handle:
        while True:
            handle.write(bytes(512))
    return filler
