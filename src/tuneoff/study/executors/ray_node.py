"""What happens on the nodes of a Ray cluster: a task that carries out a run, and the actor that it reports to."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.runs.files import CHECKPOINT
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.task import Outcome, RunTask
from tuneoff.study.executors.ray_files import Files, Folder, Piece, read_files, read_pieces, unpack, write_pieces

if TYPE_CHECKING:
    from tuneoff.runs.process import ForkServer

REPORT_SECONDS = 0.5
ASK_GPU = """
import torch
from tuneoff.training.device import has_native_bf16
print(torch.cuda.is_available() and has_native_bf16(torch.device("cuda")))
"""


@dataclass
class AttemptReport:
    """What an attempt at a run has reported: how far it is, None before the first step; its latest checkpoint."""

    progress: RunProgress | None = None
    checkpoint: list[Piece] = field(default_factory=list)


class ReportActor:
    """Where attempts report, and learn that they should stop. An actor on the driver's node: it outlives others."""

    def __init__(self) -> None:
        self._reports: dict[str, AttemptReport] = {}
        self._stopping = False

    def report(self, attempt: str, progress: RunProgress | None) -> bool:
        """Notes how far an attempt is; says whether it should stop."""
        self._reports.setdefault(attempt, AttemptReport()).progress = progress
        return self._stopping

    def keep(self, attempt: str, checkpoint: list[Piece]) -> None:
        """Takes a checkpoint, so that it is not lost with the node."""
        self._reports.setdefault(attempt, AttemptReport()).checkpoint = checkpoint

    def read(self, stopping: bool) -> dict[str, AttemptReport]:
        """The reports since the last call; from now on attempts are told to stop if `stopping`."""
        self._stopping = stopping
        reports, self._reports = self._reports, {}
        return reports


def carry_out_on_node(
    task: RunTask, attempt: str, folders: tuple[Folder, Folder], carried: Files, report_actor: Any
) -> tuple[Outcome, Files]:
    """A run as a Ray task, with a process of its own.

    Args:
        task: the run; its folders are the driver's and mean nothing here.
        attempt: names this attempt to the actor.
        folders: model and data.
        carried: files of the run that it goes on from.
        report_actor: handle of the `ReportActor`.

    Returns:
        The run's outcome and the files that belong in its folder.
    """
    import ray

    from tuneoff.runs.process_group import start_run

    ray.get(report_actor.report.remote(attempt, None))
    model_folder, data_folder = (unpack(ray, folder) for folder in folders)
    with tempfile.TemporaryDirectory(prefix="tuneoff-run-") as scratch:
        run_folder = Path(scratch)
        for name, pieces in carried.items():
            write_pieces(run_folder / name, pieces)
        here = replace(task, model_folder=model_folder, data_folder=data_folder, run_folder=run_folder)
        process = start_run(
            _fork_server(), here, "" if task.allocation.on_cpu else os.environ.get("CUDA_VISIBLE_DEVICES")
        )
        checkpoint = _Checkpoint(run_folder / CHECKPOINT)
        latest: RunProgress | None = None
        stopping = False
        try:
            while True:
                progress, outcome = process.poll()
                if outcome is not None:
                    return outcome, _files_to_return(run_folder, outcome)
                latest = progress or latest
                if checkpoint.is_new():
                    ray.get(report_actor.keep.remote(attempt, list(read_pieces(checkpoint.path))))
                if ray.get(report_actor.report.remote(attempt, latest)) and not stopping:
                    stopping = True
                    process.stop()
                wait(process.waits, REPORT_SECONDS)
        finally:
            process.close()


def has_bf16_in_hardware(on_cpu: bool) -> bool:
    """Whether the processor or the GPUs of this node compute bfloat16 in hardware.

    GPUs are asked in a process that ends with that, as a Ray worker that has none assigned sees none.
    """
    if on_cpu:
        import torch

        from tuneoff.training.device import has_native_bf16

        return has_native_bf16(torch.device("cpu"))
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    asked = subprocess.run([sys.executable, "-c", ASK_GPU], env=environment, capture_output=True, text=True, check=True)
    return asked.stdout.strip() == "True"


class _Checkpoint:
    """Notices that a checkpoint has been written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = self._written()

    def is_new(self) -> bool:
        """Whether it has been written since the last call."""
        before, self._seen = self._seen, self._written()
        return self._seen != before

    def _written(self) -> int:
        return self.path.stat().st_mtime_ns if self.path.exists() else 0


def _files_to_return(run_folder: Path, outcome: Outcome) -> Files:
    """All files of the run; its checkpoint only where it is to go on from it."""
    interrupted = outcome.failure is not None and outcome.failure.status == "interrupted"
    paths = [path for path in sorted(run_folder.rglob("*")) if interrupted or path.name != CHECKPOINT]
    return read_files(run_folder, paths)


@lru_cache(maxsize=1)
def _fork_server() -> ForkServer:
    """One for all runs that this Ray worker carries out."""
    from tuneoff.runs.process import ForkServer

    return ForkServer()
