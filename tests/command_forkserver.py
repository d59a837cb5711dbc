"""A process that has imported what Tuneoff's commands import, and forks one for each command that a test gives.

`commands.py` starts it and says why. What its commands start as a fork server is forked here too, by the command.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import io
import json
import multiprocessing.util
import os
import pkgutil
import runpy
import selectors
import shutil
import signal
import socket
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import tuneoff
from tuneoff.core.parent_death import tether
from tuneoff.core.processes import SIGNALS
from tuneoff.core.quiet import only_errors_logged

WITHOUT_HUB = (
    "torch",
    "torch._dynamo",
    "torch.distributed.tensor",
    "torch._inductor.compile_fx",
    "torch.utils.serialization.config",
    "scipy.stats",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.metrics",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "altair",
    "jinja2",
    "narwhals.stable.v2",
    "rich.live",
    "tokenizers",
)
"""Imported always, and then what Tuneoff itself has, but for the following."""
NOT_OF_TUNEOFF = (
    "tuneoff.__main__",  # does something where it is imported
    "tuneoff.runs.preload",  # belongs into the fork server
    "tuneoff.runs.preload_tethered",
    "tuneoff.serving.app",  # imports what only `serve` needs
)
BY_TRANSFORMERS = (
    "tuneoff.models.mean_pooled",
    "tuneoff.models.virtual_embedding",
    "tuneoff.runs",
    "tuneoff.serving",
    "tuneoff.study.foretold",
    "tuneoff.study.memory",
    "tuneoff.training",
)
"""Packages and modules some of which import transformers, and it huggingface_hub."""
WITH_HUB = (
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.roberta.modeling_roberta",
    "peft",
    "peft.utils.transformers_weight_conversion",
)
"""Imported where commands leave alone what huggingface_hub reads from the environment when it is imported."""
WITH_RUNS = ("run", "retry", "--refit", "--probe")
"""Commands that start a fork server, and options with which others do."""
SPINS = "GOMP_SPINCOUNT"
"""Is read when OpenMP is loaded, and Tuneoff sets it for its runs' processes."""

Work = Callable[[], object]


def import_all(hub: bool) -> None:
    import torch

    from tuneoff.models.hide import bitsandbytes_hidden

    of_tuneoff = {module.name for module in pkgutil.walk_packages(tuneoff.__path__, "tuneoff.")} - {*NOT_OF_TUNEOFF}
    if not hub:
        of_tuneoff = {name for name in of_tuneoff if not name.startswith(BY_TRANSFORMERS)}
    with bitsandbytes_hidden() if torch.backends.cuda.is_built() else nullcontext():  # as Tuneoff's own fork server
        for name in (*WITHOUT_HUB, *(WITH_HUB if hub else ()), *sorted(of_tuneoff)):
            importlib.import_module(name)
    from tuneoff.report.template import template

    for name in ("page.html", "report.md"):
        template(name)


def serve(listener: socket.socket) -> Work:
    """Answers until its client is gone. Returns in each child what that has to do."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)  # closed when the client has ended
    commands: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for key, _ in selector.select():
            if key.fd == sys.stdin.fileno():
                shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
                os._exit(0)
            if key.fd in commands:
                pid, connection = commands.pop(key.fd)
                selector.unregister(key.fd)
                os.close(key.fd)
                _tell(connection, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                connection.close()
                continue
            connection, _ = listener.accept()
            request, descriptors = _receive(connection)
            pid = os.fork()
            if pid == 0:
                selector.close()
                for opened in (listener, connection, *(other for _, other in commands.values())):
                    opened.close()
                for watched in commands:
                    os.close(watched)
                return _as_command(request, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            _tell(connection, pid)
            watched = os.pidfd_open(pid)
            commands[watched] = (pid, connection)
            selector.register(watched, selectors.EVENT_READ)


def _receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """A line of JSON, and the descriptors that came with it.

    Raises:
        EOFError: where the other end is closed.
    """
    line, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 8)
    while not line.endswith(b"\n"):
        more = connection.recv(1 << 16)
        if not more:
            raise EOFError
        line += more
    return json.loads(line), descriptors


def _tell(connection: socket.socket, number: int) -> None:
    with suppress(OSError):  # who asked may not have waited for the answer
        connection.sendall(f"{number}\n".encode())


def _as_command(request: Any, descriptors: list[int]) -> Work:
    """Makes this process what `python -m tuneoff` is once it has imported; returns what it does then."""
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    if request["session"]:
        lead_session()
    os.chdir(request["folder"])
    _set_environment(request["environment"])
    folders = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    added = [folder for folder in folders if folder and folder not in sys.path]
    sys.path[:1] = [str(Path.cwd()), *added]  # where this script's folder was
    sys.argv = ["tuneoff", *request["arguments"]]
    _open_streams()
    if not set(WITH_RUNS).isdisjoint(request["arguments"]) and (work := _fork_the_fork_server()):
        return work
    return lambda: runpy.run_module("tuneoff", run_name="__main__", alter_sys=True)


def carry_out(work: Work) -> None:
    """Does that and ends this process, without taking apart all that was imported, which would take half a second.

    What is registered for the end is called as ever. Where output cannot be written, the interpreter itself says so.
    """
    code: object = None
    try:
        work()
    except SystemExit as ended:
        code = ended.code
    if isinstance(code, str):
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        sys.exit(code)  # type: ignore[arg-type]
    os._exit(int(code or 0))  # type: ignore[call-overload]


def lead_session() -> None:
    """Makes this process lead a session of its own, with standard input as its terminal where that is one."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGHUP):  # ignored where the tests run in the background, or under nohup
        signal.signal(number, signal.SIG_DFL)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _set_environment(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _open_streams() -> None:
    """Standard streams as an interpreter has them that starts with these descriptors."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        buffer: Any = open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115  (open to the end)
        stream = io.TextIOWrapper(
            buffer,
            before.encoding,
            before.errors,
            line_buffering=number == 2 or os.isatty(number),
            write_through=unbuffered and number > 0,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _fork_the_fork_server() -> Work | None:
    """Forks what becomes this command's fork server once multiprocessing starts one; returns that child's work.

    So it is a child of the command, as a fork server is, and has none of the threads and locks that the command will
    have by then.
    """
    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        here.close()
        return _await_start(there)
    there.close()
    start: Any = multiprocessing.util.spawnv_passfds

    def spawnv_passfds(path: Any, arguments: Sequence[str], descriptors: Sequence[int]) -> Any:
        if "multiprocessing.forkserver" not in arguments[-1] or here.fileno() < 0:
            return start(path, arguments, descriptors)
        told = {"code": arguments[-1], "descriptors": list(descriptors), "environment": dict(os.environ)}
        socket.send_fds(here, [json.dumps(told).encode() + b"\n"], list(descriptors))
        here.close()  # another one, after the death of this one, is started as everywhere
        return pid

    def end() -> None:
        if here.fileno() >= 0:
            here.close()
            os.waitpid(pid, 0)

    multiprocessing.util.spawnv_passfds = spawnv_passfds  # type: ignore[assignment]
    atexit.register(end)
    return None


def _await_start(command: socket.socket) -> Work:
    tether()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # as Tuneoff has it where it starts one
    try:
        told, received = _receive(command)
    except (OSError, EOFError):  # the command has ended without one
        os._exit(0)
    command.close()
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 512) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    for descriptor, target in zip(high, told["descriptors"], strict=True):  # the code names them by these numbers
        os.dup2(descriptor, target)
        os.close(descriptor)
    _set_environment(told["environment"])
    return lambda: exec(told["code"], {"__name__": "__main__"})


def main() -> Work:
    """Imports, then answers at the socket whose descriptor it is given. Returns in each child what that has to do."""
    descriptor, *names = sys.argv[1:]
    os.environ.setdefault(SPINS, "3000")
    with only_errors_logged("bitsandbytes"):
        import_all(hub=names != ["without-hub"])
    assert ("huggingface_hub" in sys.modules) == (names != ["without-hub"])
    gc.freeze()
    with socket.socket(fileno=int(descriptor)) as listener:
        return serve(listener)


if __name__ == "__main__":
    carry_out(main())
