"""Runs on a Ray cluster, or on a local Ray where there is none. Needs no shared disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.errors import UserError
from tuneoff.files import canonical_hash, replacing, replacing_directory
from tuneoff.quantities import parse_bytes
from tuneoff.study.executors.base import Event, Executor
from tuneoff.study.plan import Outcome, RunTask
from tuneoff.study.store import CHECKPOINT

if TYPE_CHECKING:
    from tuneoff.spec import ExecutionSpec
    from tuneoff.study.process import ForkServer

Files = dict[str, bytes]
BOARD_SECONDS = 0.5
RETRIES = 3
"""How often a run is started anew when the node that it was on is lost."""


class RayExecutor(Executor):
    """Every run is a Ray task with a process of its own; data travels through Ray's object store.

    Ray decides how many runs go on at once, by the GPUs or processor cores and the memory that each asks for.
    """

    def __init__(self, execution: ExecutionSpec, on_cpu: bool) -> None:
        super().__init__(execution, on_cpu)
        try:
            import ray
        except ImportError as error:
            raise UserError("execution.executor = 'ray' needs Ray: pip install 'tuneoff[cluster]'") from error
        self._ray = ray
        self._started_ray = not ray.is_initialized()
        if self._started_ray:
            # Without an address Ray takes RAY_ADDRESS, then a cluster on this machine, then starts one.
            ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._cores = execution.cores or int(max(node.get("CPU", 1) for node in nodes))
        self._shares_nodes = on_cpu and any(node.get("CPU", 1) >= 2 * self._cores for node in nodes)
        self._board = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=self._this_node()).remote()
        self._carry_out = ray.remote(max_retries=RETRIES)(carry_out_on_node)
        self._sent: dict[Path, Folder] = {}
        self._tasks: dict[Any, RunTask] = {}
        self._asked = 0.0

    def has_room(self) -> bool:
        limit = self.execution.workers
        return limit == "auto" or len(self._tasks) < limit

    def start(self, task: RunTask) -> None:
        task = replace(task, cores=self._cores, shared_device=self._shares_nodes)
        needs: dict[str, Any] = {
            "num_cpus": self._cores if self.on_cpu else 1,
            "num_gpus": 0 if self.on_cpu else task.execution.devices,
        }
        if self.on_cpu and self.execution.max_memory is not None:
            needs["memory"] = parse_bytes(self.execution.max_memory)
        checkpoint = {name: content for name, content in _read(task.run_folder).items() if name == CHECKPOINT}
        folders = [self._send(task.model_folder), self._send(task.data_folder)]
        self._tasks[self._carry_out.options(**needs).remote(task, folders, checkpoint, self._board)] = task

    def events(self, timeout: float) -> list[Event]:
        if not self._tasks:
            return []
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=min(timeout, BOARD_SECONDS))
        running = {task.run.id for task in self._tasks.values()}
        events = []
        if time.monotonic() - self._asked > BOARD_SECONDS:
            self._asked = time.monotonic()
            news = self._ray.get(self._board.read.remote())
            events = [Event(run_id, steps=steps) for run_id, steps in news.items() if run_id in running]
        for reference in done:
            task = self._tasks.pop(reference)
            events.append(Event(task.run.id, outcome=self._outcome(reference, task)))
        return events

    def stop(self) -> None:
        self._ray.get(self._board.stop.remote())

    def close(self) -> None:
        for reference in self._tasks:
            self._ray.cancel(reference, force=True)
        self._tasks.clear()
        if self._started_ray:
            self._ray.shutdown()

    def _this_node(self) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)

    def _send(self, folder: Path) -> Folder:
        if folder not in self._sent:
            files = _read(folder)
            key = canonical_hash({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
            self._sent[folder] = Folder(key, [self._ray.put(files)])
        return self._sent[folder]

    def _outcome(self, reference: Any, task: RunTask) -> Outcome:
        try:
            outcome, files = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            message = " ".join(str(error).split())
            return Outcome({**task.identity(), "status": "failed", "error": f"Ray could not carry it out: {message}"})
        for name, content in files.items():
            with replacing(task.run_folder / name) as temporary:
                temporary.write_bytes(content)
        assert isinstance(outcome, Outcome)
        return outcome


@dataclass(frozen=True)
class Folder:
    """A folder in Ray's object store; the reference is in a list so that only nodes that lack it fetch it."""

    key: str
    reference: list[Any]


class Board:
    """What runs report to while they go on, and where they learn that they should stop. Lives on the driver's node."""

    def __init__(self) -> None:
        self._news: dict[str, int] = {}
        self._stopping = False

    def report(self, run_id: str, steps: int) -> bool:
        """Notes how far a run is; says whether it should stop."""
        self._news[run_id] = steps
        return self._stopping

    def read(self) -> dict[str, int]:
        """The news since the last call."""
        news, self._news = self._news, {}
        return news

    def stop(self) -> None:
        """Asks all runs to stop."""
        self._stopping = True


def carry_out_on_node(task: RunTask, folders: list[Folder], checkpoint: Files, board: Any) -> tuple[Outcome, Files]:
    """A run as a Ray task: unpacks what the node lacks, watches the run's process, returns its outcome and files."""
    import ray

    from tuneoff.study.group import start_run

    cache = Path(tempfile.gettempdir()) / f"tuneoff-{os.getuid()}"
    model_folder, data_folder = (_unpack(folder, cache) for folder in folders)
    with tempfile.TemporaryDirectory(prefix="tuneoff-run-") as scratch:
        local = replace(task, model_folder=model_folder, data_folder=data_folder, run_folder=Path(scratch))
        _write(checkpoint, Path(scratch))
        gpus = None if task.on_cpu else os.environ.get("CUDA_VISIBLE_DEVICES")
        process = start_run(_fork_server(), local, gpus)
        done, stopping = 0, False
        try:
            while True:
                steps, outcome = process.poll()
                if outcome is not None:
                    return outcome, _read(Path(scratch))
                done = steps or done
                if not stopping and ray.get(board.report.remote(task.run.id, done)):
                    stopping = True
                    process.stop()
                wait(process.waits, BOARD_SECONDS)
        finally:
            process.close()


@lru_cache(maxsize=1)
def _fork_server() -> ForkServer:
    from tuneoff.study.process import ForkServer

    return ForkServer()


def _unpack(folder: Folder, cache: Path) -> Path:
    import ray

    place = cache / folder.key
    if not place.exists():
        with replacing_directory(place) as temporary:
            _write(ray.get(folder.reference[0]), temporary)
    return place


def _read(folder: Path) -> Files:
    """All files below a folder, by their relative paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _write(files: Files, folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
