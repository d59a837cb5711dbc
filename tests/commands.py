"""Tuneoff's command line for tests: real processes, but for most of them without the seconds that imports take.

`python -m tuneoff plan` takes a second of work and ten of importing torch and transformers; `run` takes them twice, for
itself and for the fork server of its runs. So a process that has imported both, of `command_forkserver.py`, forks a
child for each command, which has its own arguments, folder, environment and output and ends as any process does. A
command that could come out differently for what is imported already, because something in its environment is read at
import, starts an interpreter of its own; so does one that a test wants `fresh`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

SCRIPT = Path(__file__).with_name("command_forkserver.py")
HEAVY = ("audit", "init", "plan", "report", "retry", "run")
"""Commands that import much."""
READ_LATE = ("COLUMNS", "LINES", "TERM", "TUNEOFF_CACHE", "PYTEST_")
"""Beginnings of the names of what is read from the environment when it is needed, not at an import."""
READ_BY_THE_HUB = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_", "HOME", "http", "all_proxy", "no_proxy")
"""The same of what is read when huggingface_hub and transformers are imported, or late."""
DEVICES = Path("/dev/nvidiactl")
"""Is there where a process could initialise CUDA, after which it must not be forked."""

Answer = subprocess.CompletedProcess[str]


class Running:
    """A command that a server has forked."""

    def __init__(self, connection: socket.socket) -> None:
        self._answers = connection.makefile("r")
        self.pid = int(self._answers.readline())
        self._connection = connection

    def wait(self) -> int:
        """Its exit code, once it has ended; negative where a signal ended it."""
        with self._connection, self._answers:
            return int(self._answers.readline())


class CommandServer:
    """Forks commands.

    Args:
        hub: whether huggingface_hub and transformers are imported before.
    """

    def __init__(self, hub: bool) -> None:
        self._environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        self._late = READ_LATE if hub else READ_LATE + READ_BY_THE_HUB
        self._address = str(Path(tempfile.mkdtemp(prefix="tuneoff-commands-")) / "socket")
        # Its standard input is closed when this process ends, and then it ends as well.
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT, self._address, *([] if hub else ["without-hub"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=self._environment,
        )

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Whether a command with this environment does the same as in a fresh interpreter."""
        before = self._environment
        other = [name for name in {*before, *environment} if before.get(name) != environment.get(name)]
        return all(name.startswith(self._late) for name in other)

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        streams: Sequence[int],
        session: bool = False,
    ) -> Running:
        """Starts a command.

        Args:
            arguments: as in `tuneoff ARGUMENTS`.
            folder: in which it runs.
            environment: all of it.
            streams: descriptors of its standard input, output and error output.
            session: whether it leads a session of its own; a terminal as its input is then its terminal.
        """
        connection = self._connect()
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": dict(environment),
            "session": session,
        }
        line = json.dumps(request).encode() + b"\n"
        socket.send_fds(connection, [line[:1]], streams)
        connection.sendall(line[1:])
        return Running(connection)

    def _connect(self) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._address)
            except (FileNotFoundError, ConnectionRefusedError):  # it is importing
                connection.close()
                assert self._process.poll() is None, "the server of commands has not started"
                time.sleep(0.05)
            else:
                return connection


_server = cache(CommandServer)


def server_for(command: str, hub: bool = True) -> CommandServer | None:
    """The server for a command of this name; the first one that is worth it starts the server.

    Args:
        command: such as `plan`.
        hub: whether what huggingface_hub and transformers read from the environment is as in other tests.
    """
    if not hasattr(os, "pidfd_open") or DEVICES.exists():
        return None
    if command not in HEAVY and not _server.cache_info().currsize:
        return None
    return _server(hub)


def run_command(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float, server: CommandServer | None
) -> Answer:
    """Runs the command line and returns what it printed, as `subprocess.run` does.

    Args:
        arguments: as in `tuneoff ARGUMENTS`.
        folder: in which it runs.
        environment: all of it.
        timeout: in seconds, after which it is killed and `subprocess.TimeoutExpired` raised.
        server: forks it; a fresh interpreter where None, or where the server does not suit.
    """
    command = [sys.executable, "-m", "tuneoff", *arguments]
    if server is None or not server.suits(environment):
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    ends = [os.pipe() for _ in range(2)]
    with open(os.devnull, "rb") as nothing, ThreadPoolExecutor(2) as pool:  # noqa: PTH123
        running = server.start(arguments, folder, environment, [nothing.fileno(), *(write for _, write in ends)])
        for _, write in ends:
            os.close(write)
        late = threading.Event()
        timer = threading.Timer(timeout, lambda: (late.set(), os.kill(running.pid, signal.SIGKILL)))
        timer.start()
        try:
            out, err = pool.map(_read_all, [read for read, _ in ends])
            code = running.wait()
        finally:
            timer.cancel()
    if late.is_set():
        raise subprocess.TimeoutExpired(command, timeout, out, err)
    return subprocess.CompletedProcess(command, code, out, err)


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor) as stream:
        return stream.read()
