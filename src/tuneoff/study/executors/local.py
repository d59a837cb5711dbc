"""Runs on this machine: one at a time on a CPU, one a GPU or group of GPUs, or as many as asked for."""

from __future__ import annotations

from collections import deque
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.measure.environment import usable_cores, visible_gpus
from tuneoff.runs.allocation import Allocation, devices_of_a_run
from tuneoff.runs.process import ForkServer
from tuneoff.runs.process_group import start_run
from tuneoff.study.executors.base import Event, Executor

if TYPE_CHECKING:
    from tuneoff.runs.process import RunProcess
    from tuneoff.runs.process_group import RunGroup
    from tuneoff.runs.task import RunTask
    from tuneoff.spec import ExecutionSpec, TrainingSpec

POLL_SECONDS = 0.1
"""How often limits are checked."""


class LocalExecutor(Executor):
    """A slot a worker; on GPUs each slot belongs to one of them, or to as many as a run takes."""

    name = "local"

    def __init__(self, execution: ExecutionSpec, training: TrainingSpec) -> None:
        from tuneoff.training.device import choose_device, choose_precision, precision_name

        super().__init__(execution, training)
        device = choose_device(training)
        on_cpu = device.type == "cpu"
        here = [] if on_cpu else visible_gpus()
        devices = devices_of_a_run(execution, training, on_cpu, len(here))
        if not on_cpu and devices > len(here):
            are = "is 1 GPU" if len(here) == 1 else f"are {len(here)} GPUs"
            raise UserError(f"execution.devices_per_run = {devices}, but there {are} here")
        gpus: list[str | None] = [None] if on_cpu else list(in_groups(here, devices))
        workers = len(gpus) if execution.workers == "auto" else execution.workers
        self.allocation = Allocation(
            device="cpu" if on_cpu else "cuda",
            precision=precision_name(choose_precision(training, device)),
            devices=devices,
            parallel=training.parallel if devices > 1 else "none",
            cores=execution.cores or max(1, usable_cores() // workers),
            shared_device=workers > len(gpus),
        )
        self._free = deque(gpus[slot % len(gpus)] for slot in range(workers))
        self._running: dict[str, tuple[RunProcess | RunGroup, str | None]] = {}
        self._server = ForkServer()

    @classmethod
    def warm_up(cls) -> None:
        ForkServer().warm_up()

    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, task: RunTask) -> None:
        gpu = self._free.popleft()
        self._running[task.run.id] = (start_run(self._server, task, gpu), gpu)

    def events(self, timeout: float) -> list[Event]:
        if not self._running:
            return []
        processes = [process for process, _ in self._running.values()]
        wait([waited for process in processes for waited in process.waits], min(timeout, POLL_SECONDS))
        events = []
        for run_id, (process, gpu) in list(self._running.items()):
            progress, outcome = process.poll()
            if progress is not None:
                events.append(Event(run_id, progress=progress))
            if outcome is not None:
                process.close()
                del self._running[run_id]
                self._free.append(gpu)
                events.append(Event(run_id, outcome=outcome))
        return events

    def stop(self) -> None:
        for process, _ in self._running.values():
            process.stop()

    def close(self) -> None:
        for process, _ in self._running.values():
            process.close()
        self._running.clear()


def in_groups(gpus: list[str], size: int) -> list[str]:
    """GPUs by `size`, each group as `CUDA_VISIBLE_DEVICES` names it; those left over stay idle."""
    return [",".join(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size)]
