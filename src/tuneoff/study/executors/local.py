"""Runs on this machine: one at a time on a CPU, side by side on GPUs as far as they fit, or as many as asked for."""

from __future__ import annotations

from multiprocessing.connection import wait
from threading import Thread
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.measure.environment import usable_cores, visible_gpus
from tuneoff.measure.gpus import free_gpu_bytes
from tuneoff.runs.allocation import Allocation, devices_of_a_run
from tuneoff.runs.process import ForkServer
from tuneoff.runs.process_group import start_run
from tuneoff.study.executors.base import Event, Executor
from tuneoff.study.executors.places import Place, Places

if TYPE_CHECKING:
    from tuneoff.runs.process import RunProcess
    from tuneoff.runs.process_group import RunGroup
    from tuneoff.runs.task import RunTask
    from tuneoff.spec import ExecutionSpec, TrainingSpec

POLL_SECONDS = 0.1
"""How often limits are checked."""
ENDING_SECONDS = 0.01
"""How often it is looked whether a process has ended that another run waits for."""


class LocalExecutor(Executor):
    """Every device, or group of as many as a run takes, is a place; so is a CPU."""

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
        shares = not on_cpu and devices == 1 and execution.workers == "auto"
        self._room = free_gpu_bytes(here) if shares else None
        self._places = Places(gpus, workers, self._room)
        self._running: dict[str, tuple[RunProcess | RunGroup, Place]] = {}
        self._ending: list[tuple[Thread, str, Place]] = []
        self._server = ForkServer()

    @classmethod
    def warm_up(cls) -> None:
        ForkServer().warm_up()

    @property
    def shareable_bytes(self) -> int | None:
        return self._room

    def has_room(self, task: RunTask) -> bool:
        return self._places.of(task) is not None

    def start(self, task: RunTask) -> None:
        place = self._places.of(task)
        assert place is not None
        place.begin(task)
        self._running[task.run.id] = (start_run(self._server, task, place.gpu), place)

    def events(self, timeout: float) -> list[Event]:
        self._let_go()
        if not self._running and not self._ending:
            return []
        processes = [process for process, _ in self._running.values()]
        poll = ENDING_SECONDS if self._ending else POLL_SECONDS
        wait([waited for process in processes for waited in process.waits], min(timeout, poll))
        events = []
        for run_id, (process, place) in list(self._running.items()):
            progress, outcome = process.poll()
            if progress is not None:
                events.append(Event(run_id, progress=progress))
            if outcome is not None:
                del self._running[run_id]
                # A process with much memory on a GPU takes a while to end, and others need not wait for that.
                ending = Thread(target=process.close)
                ending.start()
                self._ending.append((ending, run_id, place))
                events.append(Event(run_id, outcome=outcome.sharing(place.own_seconds(run_id))))
        return events

    def _let_go(self) -> None:
        """Gives free what processes held that have ended by now."""
        for one in list(self._ending):
            ending, run_id, place = one
            if not ending.is_alive():
                place.end(run_id)
                self._ending.remove(one)

    def stop(self) -> None:
        for process, _ in self._running.values():
            process.stop()

    def close(self) -> None:
        for process, _ in self._running.values():
            process.close()
        for ending, _, _ in self._ending:
            ending.join()
        self._running.clear()
        self._ending.clear()


def in_groups(gpus: list[str], size: int) -> list[str]:
    """GPUs by `size`, each group as `CUDA_VISIBLE_DEVICES` names it; those left over stay idle."""
    return [",".join(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size)]
