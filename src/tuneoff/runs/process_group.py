"""A run on several devices: a process each, watched as one."""

from __future__ import annotations

import tempfile
import time
import uuid
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from tuneoff.records.run import UnsuccessfulRun
from tuneoff.runs.process import ForkServer, RunProcess
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.task import Outcome, RunTask
from tuneoff.training.parallel.process_rank import ProcessRank

GRACE_SECONDS = 3.0
"""After a process has failed, how long the others have to say that they did, which tells cause from consequence."""


def start_run(server: ForkServer, task: RunTask, visible_gpus: str | None = None) -> RunProcess | RunGroup:
    """Starts a run in as many processes as it has devices; arguments as for `RunProcess`."""
    return (RunProcess if task.allocation.devices == 1 else RunGroup)(server, task, visible_gpus)


class RunGroup:
    """A run's processes, one a device; from outside like one `RunProcess`. The first reports for all.

    Args:
        server: they are forked from.
        task: the run.
        visible_gpus: of which each process sees one (as in `CUDA_VISIBLE_DEVICES`); None on CPUs.
    """

    def __init__(self, server: ForkServer, task: RunTask, visible_gpus: str | None = None) -> None:
        count = task.allocation.devices
        self._meeting_file = Path(tempfile.gettempdir()) / f"tuneoff-{uuid.uuid4().hex}"
        gpus = visible_gpus.split(",") if visible_gpus else [visible_gpus] * count
        ranks = [ProcessRank(rank, count, str(self._meeting_file)) for rank in range(count)]
        self._processes = [
            RunProcess(server, replace(task, process=rank), gpu) for rank, gpu in zip(ranks, gpus, strict=True)
        ]
        self._outcomes: dict[int, Outcome] = {}
        self._failed_since: float | None = None

    @property
    def waits(self) -> list[Connection | int]:
        """What `multiprocessing.connection.wait` can wait for; then there is something to `poll`."""
        return [waited for _, process in self._going_on() for waited in process.waits]

    def poll(self) -> tuple[RunProgress | None, Outcome | None]:
        """How it goes, without waiting; the outcome comes once all processes have ended, or one has failed.

        Returns:
            As `RunProcess.poll` does.
        """
        progress: RunProgress | None = None
        for rank, process in self._going_on():
            latest, outcome = process.poll()
            if rank == 0:
                progress = latest
            if outcome is not None:
                self._outcomes[rank] = outcome
        return progress, self._verdict()

    def stop(self) -> None:
        """Asks it to write a checkpoint after the step under way, and end."""
        for process in self._processes:
            process.stop()

    def close(self) -> None:
        """Ends what still lives of it at once."""
        for process in self._processes:
            process.close()
        self._meeting_file.unlink(missing_ok=True)

    def _going_on(self) -> list[tuple[int, RunProcess]]:
        return [(rank, process) for rank, process in enumerate(self._processes) if rank not in self._outcomes]

    def _verdict(self) -> Outcome | None:
        failed = {rank: outcome.failure for rank, outcome in self._outcomes.items() if outcome.failure is not None}
        if failed and self._failed_since is None:
            self._failed_since = time.monotonic()
        all_ended = len(self._outcomes) == len(self._processes)
        if failed and (all_ended or time.monotonic() - (self._failed_since or 0.0) > GRACE_SECONDS):
            return self._cause(failed)
        return self._outcomes[0] if all_ended else None

    def _cause(self, failed: dict[int, UnsuccessfulRun]) -> Outcome:
        """The first failure; where one has failed, the others lose their connection to it and fail as well."""
        rank = min(failed, key=lambda rank: self._outcomes[rank].failed_at)
        cause = self._outcomes[rank]
        count = len(self._processes)
        if len(failed) == count and len({result.error for result in failed.values()}) == 1:
            return cause
        error = f"process {rank + 1} of {count}: {failed[rank].error}"
        return replace(cause, result=failed[rank].model_copy(update={"error": error}))
