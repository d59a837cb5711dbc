"""Runs on a Ray cluster, or on a local Ray where there is none. Needs no shared disk."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneoff.core.errors import UserError
from tuneoff.core.files import replacing
from tuneoff.core.quantities import parse_bytes
from tuneoff.data.conventions import SPLITS
from tuneoff.data.parts import WHOLE, split_path
from tuneoff.data.prepared import TARGETS
from tuneoff.models.fingerprint import model_files
from tuneoff.runs.allocation import Allocation, devices_of_a_run
from tuneoff.runs.files import CHECKPOINT
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.task import Outcome, RunTask
from tuneoff.study.executors.base import Event, Executor
from tuneoff.study.executors.ray_cluster import Cluster, Needs, first_line
from tuneoff.study.executors.ray_files import Files, Folder, read_files, send_folder, write_pieces
from tuneoff.study.executors.ray_node import (
    REPORT_SECONDS,
    AttemptReport,
    ReportActor,
    carry_out_on_node,
    has_bf16_in_hardware,
)

if TYPE_CHECKING:
    from tuneoff.spec import ExecutionSpec, TrainingSpec

LOSSES = 3
"""How many nodes a run may lose under it before it counts as failed."""


@dataclass
class Attempt:
    """A run as a Ray task. It is begun anew, from its latest checkpoint, where its node is lost."""

    task: RunTask
    name: str
    losses: int
    begun: bool = False


class RayExecutor(Executor):
    """Every run is a Ray task with a process of its own; data, results and checkpoints travel through Ray.

    The driver alone writes the study's folder.

    Raises:
        UserError: where Ray is not installed or does not answer, or no node has what a run needs.
    """

    name = "ray"
    computes_here: ClassVar[bool] = False

    def __init__(self, execution: ExecutionSpec, training: TrainingSpec) -> None:
        super().__init__(execution, training)
        self._cluster = Cluster()
        self._ray = self._cluster.ray
        try:
            self.allocation, self._needs = self._decide()
        except UserError:
            self._cluster.leave()
            raise
        self._report_actor = self._start_report_actor()
        # Ray would begin a lost run without its checkpoint; so it begins none, and `_lost` does.
        self._carry_out = self._ray.remote(max_retries=0)(carry_out_on_node)
        self._sent: dict[tuple[Path, str], Folder] = {}
        self._attempts: dict[Any, Attempt] = {}
        self._names = map(str, itertools.count())
        self._asking: Any = None
        self._asked = 0.0
        self._stopping = False

    def has_room(self, task: RunTask) -> bool:
        del task  # they are all alike
        workers = self.execution.workers
        return len(self._attempts) < (self._fit() if workers == "auto" else workers)

    def start(self, task: RunTask) -> None:
        self._begin(task, losses=0)

    def events(self, timeout: float) -> list[Event]:
        wait = min(timeout, REPORT_SECONDS)
        if not self._attempts:
            time.sleep(wait)
            return []
        if self._asking is None and time.monotonic() - self._asked >= REPORT_SECONDS:
            self._asked = time.monotonic()
            self._asking = self._report_actor.read.remote(self._stopping)
        asking = [] if self._asking is None else [self._asking]
        done, _ = self._ray.wait(asking + list(self._attempts), num_returns=1, timeout=wait)
        if done and done == asking:
            self._asking = None
            return self._reported(self._ray.get(done[0]))
        return [self._ended(reference, self._attempts.pop(reference)) for reference in done]

    def stop(self) -> None:
        self._stopping = True  # those that have begun learn it when they report
        for reference, attempt in self._attempts.items():
            if not attempt.begun:
                self._ray.cancel(reference)

    def close(self) -> None:
        for reference in self._attempts:
            self._ray.cancel(reference, force=True)
        self._attempts.clear()
        self._cluster.leave()

    def _decide(self) -> tuple[Allocation, Needs]:
        """What each run computes on, which is for the nodes to say, and what it needs of one."""
        nodes, training = self._cluster.nodes(), self._training
        on_cpu = training.device == "cpu" or (training.device == "auto" and not any(node.get("GPU") for node in nodes))
        most = max(1, *(int(node.get("GPU", 0)) for node in nodes))
        devices = devices_of_a_run(self.execution, training, on_cpu, most)
        memory = self.execution.max_memory if on_cpu else None
        needs = Needs(self._cores(on_cpu), 0 if on_cpu else devices, parse_bytes(memory) if memory else 0)
        fits = [needs.fit(node) for node in nodes]
        if not any(fits) and (self._cluster.is_local or self.execution.workers == "auto"):
            raise UserError(f"no node of the Ray cluster offers what a run needs ({needs})")
        precision = training.precision
        if precision == "auto":  # all nodes compute in the same one, so that it does not matter which carries out a run
            bf16 = self._cluster.ask(has_bf16_in_hardware, on_cpu, where=lambda node: needs.fit(node) > 0)
            precision = "bf16" if bf16 and all(bf16) else "fp32"
        allocation = Allocation(
            device="cpu" if on_cpu else "cuda",
            precision=precision,
            devices=devices,
            parallel=training.parallel if devices > 1 else "none",
            cores=needs.cores,
            shared_device=on_cpu and self.execution.workers != 1 and any(fit > 1 for fit in fits),
        )
        return allocation, needs

    def _cores(self, on_cpu: bool) -> int:
        """Cores of a run: as many as let the runs asked for go on at a time; where none are, those of a node."""
        if self.execution.cores is not None or not on_cpu:
            return self.execution.cores or 1
        cores = [int(node.get("CPU", 0)) for node in self._cluster.nodes()]
        runs = 1 if self.execution.workers == "auto" else self.execution.workers
        enough = (share for share in range(max(cores), 0, -1) if sum(offered // share for offered in cores) >= runs)
        return next(enough, 1)

    def _fit(self) -> int:
        """How many runs the cluster can carry out at a time."""
        return sum(self._needs.fit(node) for node in self._cluster.nodes())

    def _start_report_actor(self) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
        return self._ray.remote(ReportActor).options(**options).remote()

    def _begin(self, task: RunTask, losses: int) -> None:
        attempt = Attempt(task, next(self._names), losses)
        places = [task.data_folder / split_path(task.run.part, split) for split in SPLITS]
        tokens = [path for place in places for path in place.glob("*.npy")]
        tokens += task.data_folder.glob(TARGETS)
        folders = (
            self._send(task.model_folder, WHOLE, model_files(task.model_folder)),
            self._send(task.data_folder, task.run.part, tokens),
        )
        carried = read_files(task.run_folder, [task.run_folder / name for name in (CHECKPOINT, "log.txt")])
        carry_out = self._carry_out.options(**self._needs.options())
        self._attempts[carry_out.remote(task, attempt.name, folders, carried, self._report_actor)] = attempt

    def _send(self, folder: Path, part: str, paths: list[Path]) -> Folder:
        if (folder, part) not in self._sent:
            self._sent[folder, part] = send_folder(self._ray, folder, paths)
        return self._sent[folder, part]

    def _reported(self, reports: dict[str, AttemptReport]) -> list[Event]:
        """What runs have reported; checkpoints are stored."""
        events = []
        for attempt in self._attempts.values():
            report = reports.get(attempt.name)
            if report is None:
                continue
            attempt.begun = True
            if report.checkpoint:
                _store({CHECKPOINT: report.checkpoint}, attempt.task.run_folder)
            if report.progress is not None:
                events.append(Event(attempt.task.run.id, progress=report.progress))
        return events

    def _ended(self, reference: Any, attempt: Attempt) -> Event:
        run_id, errors = attempt.task.run.id, self._ray.exceptions
        try:
            outcome, files = self._ray.get(reference)
        except errors.TaskCancelledError:
            return Event(run_id, outcome=Outcome(attempt.task.unfinished("interrupted", "stopped before it began")))
        except errors.OutOfMemoryError:
            return Event(
                run_id, outcome=Outcome(attempt.task.unfinished("oom", "Ray ended it: its node ran out of memory"))
            )
        except errors.RayTaskError as error:
            raise UserError(f"a node could not carry out run {run_id}: {self._cluster.cause(error)}") from error
        except errors.RayError as error:
            return self._lost(attempt, first_line(error))
        _store(files, attempt.task.run_folder)
        return Event(run_id, outcome=outcome)

    def _lost(self, attempt: Attempt, error: str) -> Event:
        task, losses = attempt.task, attempt.losses + 1
        if self._stopping:
            return Event(task.run.id, outcome=Outcome(task.unfinished("interrupted", "lost with its node")))
        if losses > LOSSES:
            lost = task.unfinished("failed", f"lost {losses} times with its node or Ray's process there: {error}")
            return Event(task.run.id, outcome=Outcome(lost))
        self._begin(task, losses)
        saved = (task.run_folder / CHECKPOINT).exists()
        note = f"{task.run.id}: lost with its node or Ray's process there; it "
        if saved:
            return Event(task.run.id, note=f"{note}goes on from its checkpoint")
        return Event(task.run.id, progress=RunProgress(0), note=f"{note}starts again")


def _store(files: Files, run_folder: Path) -> None:
    for name, pieces in files.items():
        with replacing(run_folder / name) as temporary:
            write_pieces(temporary, pieces)
