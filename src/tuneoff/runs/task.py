"""What a run's process is told, and what it sends back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.runs.allocation import Allocation
from tuneoff.runs.run import RESULT_SCHEMA_VERSION, Run
from tuneoff.training.parallel.process_rank import ProcessRank

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.spec import ExecutionSpec, TrainingSpec


@dataclass(frozen=True)
class RunTask:
    """All that a worker process needs to carry out a run.

    `base_model` is what a saved adapter calls its model, and `base_revision` the commit where that is on the Hub:
    `model_folder` may be another where the run is carried out.
    `training` is the study's with `auto` resolved, and `allocation` is what the run computes on.
    `micro_batch` is the number of sequences computed at once (all of a batch when None); `process` tells the processes
    of a run on several devices apart.
    """

    run: Run
    training: TrainingSpec
    execution: ExecutionSpec
    model_folder: Path
    data_folder: Path
    run_folder: Path
    num_labels: int
    pad_token_id: int
    base_model: str
    keep_model: bool
    allocation: Allocation
    micro_batch: int | None = None
    process: ProcessRank = field(default_factory=ProcessRank)
    base_revision: str | None = None

    @property
    def log(self) -> Path:
        """Where this process writes what it prints."""
        return self.run_folder / (f"log-{self.process.rank}.txt" if self.process.rank else "log.txt")

    def identity(self) -> dict[str, Any]:
        """The fields of `result.json` that say which run it is."""
        entry = self.run.entry()
        return {"schema_version": RESULT_SCHEMA_VERSION, "run_id": entry.pop("id"), **entry}


@dataclass(frozen=True)
class Outcome:
    """What a run sends back.

    `result` is the content of `result.json`; `logits` those of the test split, of a run that succeeded;
    `stops_study` says that it failed for a reason that every run would fail for, such as a full disk; `failed_at`
    (of the machine's monotonic clock) when a process that failed noticed it, 0 where others found it dead.
    """

    result: dict[str, Any]
    logits: NDArray[np.float32] | None = None
    stops_study: bool = False
    failed_at: float = 0.0
