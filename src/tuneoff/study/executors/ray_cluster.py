"""Joining a Ray cluster, or starting a local one; what its nodes offer and what a run needs of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tuneoff.core.errors import UserError
from tuneoff.measure.environment import usable_cores

LOCAL = "local"
ANSWER_WITHIN_SECONDS = 15
LOOK_SECONDS = 5.0
"""How often the nodes are looked up."""
TRY_TO_JOIN = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="critical")
except BaseException as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
"""

Answer = TypeVar("Answer")
Node = Mapping[str, float]
"""What a node offers, as Ray names it: `CPU` and `GPU` by number, `memory` in bytes."""


@dataclass(frozen=True)
class Needs:
    """What a run takes of a node while it goes on.

    Attributes:
        cores: processor cores.
        gpus: whole GPUs.
        memory_bytes: main memory; 0 where the run sets no limit.
    """

    cores: int
    gpus: int = 0
    memory_bytes: int = 0

    def __str__(self) -> str:
        gpus = f", {self.gpus} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else ""
        memory = f", {self.memory_bytes / 1e9:.1f} GB of memory" if self.memory_bytes else ""
        return f"{self.cores} cores{gpus}{memory}"

    def fit(self, node: Node) -> int:
        """How many such runs a node can hold at a time."""
        wanted = {"CPU": self.cores, "GPU": self.gpus, "memory": self.memory_bytes}
        return min(int(node.get(name, 0) // amount) for name, amount in wanted.items() if amount)

    def options(self) -> dict[str, Any]:
        """The same as Ray's options of a task."""
        return {"num_cpus": self.cores, "num_gpus": self.gpus, "memory": self.memory_bytes or None}


class Cluster:
    """The Ray cluster that this process is part of: that of `RAY_ADDRESS`, or a new one on this machine.

    A Ray that the calling program has joined already is used as it is, and not left at the end.

    Raises:
        UserError: where Ray is not installed, or the cluster cannot be joined.
    """

    def __init__(self) -> None:
        try:
            import ray
        except ImportError as error:
            raise UserError("execution.executor = 'ray' needs Ray: pip install 'tuneoff[cluster]'") from error
        self.ray: Any = ray
        self._joined = not ray.is_initialized()
        self.is_local = False
        if self._joined:
            address = os.environ.get("RAY_ADDRESS") or LOCAL
            self.is_local = address == LOCAL
            _join(ray, address)
            self._print_messages(False)
        self._nodes: list[Node] = []
        self._looked = -LOOK_SECONDS

    def nodes(self) -> list[Node]:
        """What the nodes that are alive offer; looked up every few seconds."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return self._nodes

    def ask(self, question: Callable[..., Answer], *arguments: Any, where: Callable[[Node], bool]) -> list[Answer]:
        """The answers of the nodes that are alive; a question takes nothing of what they offer to runs.

        Args:
            question: a function that is called there.
            arguments: it is given.
            where: says which nodes are asked.

        Raises:
            UserError: where a node cannot answer.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [node["NodeID"] for node in self.ray.nodes() if node["Alive"] and where(node["Resources"])]
        remote = self.ray.remote(question)
        asked = [
            remote.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            for node in nodes
        ]
        try:
            answers: list[Answer] = self.ray.get([one.remote(*arguments) for one in asked])
        except self.ray.exceptions.RayTaskError as error:
            raise UserError(
                f"a node of the Ray cluster cannot say what it computes with: {self.cause(error)}"
            ) from error
        except self.ray.exceptions.RayError as error:
            raise UserError(f"a node of the Ray cluster does not answer: {first_line(error)}; try again") from error
        return answers

    def cause(self, error: Any) -> str:
        """Why a task failed, in one line, with what to do where the node is not like this machine."""
        # A task that could not be unpickled.
        unlike = isinstance(error.cause, ImportError | self.ray.exceptions.RaySystemError)
        hint = "; every node needs the tuneoff and the packages of this machine" if unlike else ""
        return f"{first_line(error.cause)}{hint}"

    def leave(self) -> None:
        """Leaves the cluster, where it was joined here; a local one ends with that."""
        if self._joined:
            self.ray.shutdown()
            self._print_messages(True)

    def _print_messages(self, wanted: bool) -> None:
        """Keeps what Ray has to say of its nodes off standard output; it has no public way to do so."""
        self.ray._private.worker._worker_logs_enabled = wanted


def first_line(error: BaseException) -> str:
    """An error's kind and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _join(ray: Any, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        options = {"num_cpus": usable_cores(), "include_dashboard": False}
    else:
        _check_that_it_answers(address)
        options = {}
    try:
        with _signal_handlers_kept():
            ray.init(address=address, log_to_driver=False, logging_level="error", **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(f"Ray cannot be started: {' '.join(str(error).split())}") from error


def _check_that_it_answers(address: str) -> None:
    """Tries in another process: where nothing answers, Ray goes on trying for minutes and then ends the process."""
    if "://" in address:
        form = "the address of the cluster's head, such as 10.0.0.1:6379, from a machine of the cluster"
        raise UserError(f"RAY_ADDRESS = '{address}': Ray's client and job addresses cannot be used; give {form}")
    try:
        tried = subprocess.run(
            [sys.executable, "-c", TRY_TO_JOIN, address],
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"no Ray cluster at RAY_ADDRESS = '{address}' answers within {ANSWER_WITHIN_SECONDS} seconds"
        raise UserError(message) from error
    if tried.returncode != 0:
        raise UserError(f"the Ray cluster at RAY_ADDRESS = '{address}' cannot be joined: {tried.stdout.strip()}")


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray puts a handler of its own in the place of SIGTERM's."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
