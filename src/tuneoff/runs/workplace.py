"""What a run's process computes with, before it has a model."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from tuneoff.measure.clock import Stopwatch
from tuneoff.measure.energy import EnergyMeter, energy_meter
from tuneoff.measure.memory import PeakMemory, PeakSoFar, peak_memory
from tuneoff.runs.files import CHECKPOINT
from tuneoff.runs.task import RunTask
from tuneoff.training.checkpoint import Checkpoints
from tuneoff.training.cpu import settle_on_cpu
from tuneoff.training.device import choose_precision
from tuneoff.training.engines.base import Saved
from tuneoff.training.parallel.devices import SingleDevice, make_parallel
from tuneoff.training.parallel.ranks import Ranks


@dataclass(frozen=True)
class Workplace:
    """Device, clock and meters of a run's process, and what an earlier process of the run has left.

    Attributes:
        task: the run.
        device: that it computes on.
        precision: that it computes in.
        ranks: the run's processes.
        parallel: how they share the work.
        checkpoints: where they are written.
        saved: the one to go on from, or None.
        micro_batch: the most sequences computed at once.
        watch: seconds by purpose, an earlier process's set-up left out, since it was done in vain; and joules.
        peak: of memory, since it was last reset.
        resident: bytes that were in use before there was a model; on a GPU none.
        train_peak: of memory in training and in evaluation, an earlier process's included.
        started: by the performance counter.
        spent_before: seconds that earlier processes have spent to good purpose.
    """

    task: RunTask
    device: torch.device
    precision: torch.dtype
    ranks: Ranks
    parallel: SingleDevice
    checkpoints: Checkpoints
    saved: Saved | None
    micro_batch: int
    watch: Stopwatch
    peak: PeakMemory
    resident: int
    train_peak: PeakSoFar
    started: float
    spent_before: float

    @classmethod
    def set_up(cls, task: RunTask, device: torch.device) -> Workplace:
        """Settles on the device, meets the run's other processes, and finds the checkpoint to go on from."""
        started = time.perf_counter()
        peak = peak_memory(device)
        resident = peak.present_bytes()
        if device.type == "cpu":
            settle_on_cpu(task.allocation.threads)
        else:
            torch.set_num_threads(task.allocation.threads)
        precision = choose_precision(task.training, device)
        ranks = Ranks.connect(task.process, device)
        parallel = make_parallel(task.training, ranks, precision)
        checkpoints = Checkpoints(task.run_folder / CHECKPOINT, task.run.id, task.execution.checkpoint_every, parallel)
        micro_batch = task.micro_batch or task.training.batch_size
        saved = checkpoints.load(micro_batch)
        spent = {purpose: spent for purpose, spent in saved["seconds"].items() if purpose != "setup"} if saved else {}
        joules = saved.get("train_joules") if saved else 0.0  # of all processes
        return cls(
            task=task,
            device=device,
            precision=precision,
            ranks=ranks,
            parallel=parallel,
            checkpoints=checkpoints,
            saved=saved,
            micro_batch=saved["micro_batch"] if saved else micro_batch,
            watch=Stopwatch(device, spent, _meter(task, device, ranks), joules if ranks.first else 0.0),
            peak=peak,
            resident=resident,
            train_peak=PeakSoFar(peak, saved and saved["peak_memory_bytes"]),
            started=started,
            spent_before=sum(spent.values()),
        )

    def wall_seconds(self) -> float:
        """Of the run's process until now, and of earlier ones what was not done in vain."""
        return time.perf_counter() - self.started + self.spent_before


def _meter(task: RunTask, device: torch.device, ranks: Ranks) -> EnergyMeter | None:
    """Of the energy of this process's device; None where it is also that of other runs."""
    if task.allocation.shared_device:
        return None
    # A run's processes on a CPU take the energy of one machine, of which the first tells.
    return energy_meter(device) if ranks.first or device.type == "cuda" else EnergyMeter([])
