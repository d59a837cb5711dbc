"""Tuneoff's command line for tests: real processes, but for most of them without the seconds that imports take.

`python -m tuneoff plan` takes a second of work and ten of importing torch and transformers; `run` takes them twice, for
itself and for the fork server of its runs. So a process that has imported both, of `command_forkserver.py`, forks a
child for each command, which has its own arguments, folder, environment and output and ends as any process does, but
for taking its imports apart. A command that could come out differently for what is imported already, because something
in its environment is read at import, starts an interpreter of its own; so does one that a test wants `fresh`.
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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from command_forkserver import lead_session
from tuneoff.cli.predict import PROCESS

SCRIPT = Path(__file__).with_name("command_forkserver.py")
HEAVY = ("audit", "compare", "export", "init", "plan", "predict", "recommend", "report", "retry", "run", "serve")
"""Commands that import much."""
READ_LATE = (
    "COLUMNS",
    "CUDA_VISIBLE_DEVICES",
    "FORCE_COLOR",
    "LINES",
    "MLFLOW_",
    "NO_COLOR",
    "PYTEST_",
    "PYTHONBREAKPOINT",
    "PYTHONUNBUFFERED",
    "RAY_",
    "TUNEOFF_TEST_MARK",
    "TERM",
    "TUNEOFF_CACHE",
    "WANDB_",
)
"""Beginnings of the names of what is read from the environment when it is needed, not at an import."""
SET_AT_IMPORTS = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR")
"""What scikit-learn and torch set when they are imported, here as in the servers."""
SET_BY_COMMANDS = (*PROCESS, "TOKENIZERS_PARALLELISM")
"""What commands set for the processes that compute: here as well, once a test has called one."""
READ_BY_THE_HUB = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_", "HOME", "http", "all_proxy", "no_proxy")
"""The same of what is read when huggingface_hub and transformers are imported, or late."""
# Models of tests are so small that threads mostly wait for each other, all the more beside another worker of pytest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}
"""Of the servers."""
DEVICES = Path("/dev/nvidiactl")
"""Is there where a process could initialise CUDA, after which it must not be forked."""

Answer = subprocess.CompletedProcess[str]


class Running:
    """A command that a server has forked; of `subprocess.Popen` it has what tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._said = b""
        self.returncode: int | None = None
        self.pid = self._answer()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; negative where a signal ended it.

        Raises:
            subprocess.TimeoutExpired: where it has not after so many seconds.
        """
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = self._answer()
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired("tuneoff", timeout or 0.0) from error
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code, or None while it goes on."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def _answer(self) -> int:
        while b"\n" not in self._said:
            more = self._connection.recv(64)
            assert more, "the server of commands has died"
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return int(line)


class CommandServer:
    """Forks commands.

    Args:
        hub: whether huggingface_hub and transformers are imported before.
        address: of the socket at which it listens.
    """

    def __init__(self, hub: bool, address: str) -> None:
        self._no_matter = READ_LATE + SET_AT_IMPORTS + SET_BY_COMMANDS + (() if hub else READ_BY_THE_HUB)
        self._address = address

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Whether a command with this environment does the same as in a fresh interpreter."""
        before = ENVIRONMENT
        other = [name for name in {*before, *environment} if before.get(name) != environment.get(name)]
        added = set(_folders(environment)) - set(_folders(before))
        here = all(name.startswith(self._no_matter) for name in other if name != "PYTHONPATH")
        return here and _folders(environment)[len(added) :] == _folders(before) and _hide_nothing(added)

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        streams: Sequence[int],
        session: bool,
    ) -> Running:
        """Starts a command; see `start_command`."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)  # is answered once the server has imported
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


_servers: dict[bool, CommandServer] = {}
_started: list[subprocess.Popen[bytes]] = []
"""Keeps their standard input open."""


def can_fork() -> bool:
    """Whether commands can be forked here."""
    return hasattr(os, "pidfd_open") and not DEVICES.exists()


def start_server(hub: bool) -> str:
    """Starts a server that ends with this process; returns the address of its socket.

    Args:
        hub: as in `CommandServer`.
    """
    address = str(Path(tempfile.mkdtemp(prefix="tuneoff-commands-")) / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        # Its standard input is closed when this process ends, and then it ends as well.
        server = subprocess.Popen(
            [sys.executable, SCRIPT, str(listener.fileno()), *([] if hub else ["without-hub"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=ENVIRONMENT,
            pass_fds=[listener.fileno()],
        )
    _started.append(server)
    return address


def use_server(hub: bool, address: str) -> None:
    """Has this process's commands forked by a server that another process has started."""
    _servers[hub] = CommandServer(hub, address)


def server_for(command: str, hub: bool = True) -> CommandServer | None:
    """The server for a command of this name; the first one that is worth it starts the server, where there is none.

    Args:
        command: such as `plan`.
        hub: whether what huggingface_hub and transformers read from the environment is as in other tests.
    """
    if command in HEAVY and hub not in _servers and can_fork():
        use_server(hub, start_server(hub))
    return _servers.get(hub)


def start_command(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    streams: Sequence[int],
    server: CommandServer | None,
    session: bool = False,
) -> Running | subprocess.Popen[bytes]:
    """Starts the command line.

    Args:
        arguments: as in `tuneoff ARGUMENTS`.
        folder: in which it runs.
        environment: all of it.
        streams: descriptors of its standard input, output and error output.
        server: forks it; a fresh interpreter where None, or where the server does not suit.
        session: whether it leads a session of its own; a terminal as its input is then its terminal.
    """
    if server is not None and server.suits(environment):
        return server.start(arguments, folder, environment, streams, session)
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        [sys.executable, "-m", "tuneoff", *arguments],
        cwd=folder,
        env=environment,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=lead_session if session else None,
    )


def run_command(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float, server: CommandServer | None
) -> Answer:
    """Runs the command line and returns what it printed; arguments are those of `start_command`.

    Raises:
        subprocess.TimeoutExpired: after so many seconds, when it has been killed.
    """
    ends = [os.pipe() for _ in range(2)]
    outputs = [write for _, write in ends]
    late = threading.Event()
    with open(os.devnull, "rb") as nothing, ThreadPoolExecutor(2) as pool:  # noqa: PTH123
        command = start_command(arguments, folder, environment, [nothing.fileno(), *outputs], server)
        for output in outputs:
            os.close(output)

        def end() -> None:
            late.set()
            os.kill(command.pid, signal.SIGKILL)

        timer = threading.Timer(timeout, end)
        timer.start()
        try:
            out, err = pool.map(_read_all, [read for read, _ in ends])
            code = command.wait()
        finally:
            timer.cancel()
    if late.is_set():
        raise subprocess.TimeoutExpired(list(arguments), timeout, out, err)
    return Answer(["tuneoff", *arguments], code, out, err)


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor) as stream:
        return stream.read()


def _folders(environment: Mapping[str, str]) -> list[str]:
    return [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _hide_nothing(folders: set[str]) -> bool:
    """Whether in these folders there are only packages that tests have made, named so that no other is meant."""
    return all(name.startswith("tuneoff_") for folder in folders for name in os.listdir(folder))  # noqa: PTH208
