"""Runs on this machine: one at a time on a CPU, one a GPU, or as many as asked for."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from tuneoff.measure.environment import usable_cores
from tuneoff.study.executors.base import Event, Executor
from tuneoff.study.process import ForkServer, RunProcess

if TYPE_CHECKING:
    from tuneoff.spec import ExecutionSpec
    from tuneoff.study.plan import RunTask

POLL_SECONDS = 0.1
"""How often limits are checked."""


class LocalExecutor(Executor):
    """A slot a worker; on GPUs each slot belongs to one of them."""

    def __init__(self, execution: ExecutionSpec, on_cpu: bool) -> None:
        super().__init__(execution, on_cpu)
        gpus: list[str | None] = [None] if on_cpu else list(visible_gpus())
        workers = len(gpus) if execution.workers == "auto" else execution.workers
        self._shared = workers > len(gpus)
        self._cores = execution.cores or max(1, usable_cores() // workers)
        self._free = deque(gpus[slot % len(gpus)] for slot in range(workers))
        self._running: dict[str, tuple[RunProcess, str | None]] = {}
        self._server = ForkServer()

    @classmethod
    def warm_up(cls) -> None:
        ForkServer().warm_up()

    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, task: RunTask) -> None:
        gpu = self._free.popleft()
        task = replace(task, cores=self._cores, shared_device=self._shared)
        self._running[task.run.id] = (RunProcess(self._server, task, gpu), gpu)

    def events(self, timeout: float) -> list[Event]:
        if not self._running:
            return []
        processes = [process for process, _ in self._running.values()]
        wait([waited for process in processes for waited in process.waits], min(timeout, POLL_SECONDS))
        events = []
        for run_id, (process, gpu) in list(self._running.items()):
            steps, outcome = process.poll()
            if steps is not None:
                events.append(Event(run_id, steps=steps))
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


def visible_gpus() -> list[str]:
    """The CUDA devices that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
