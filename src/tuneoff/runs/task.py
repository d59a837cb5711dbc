"""What a run's process is told, and what it sends back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.data.prepared import load_targets
from tuneoff.records.conditions import Conditions
from tuneoff.records.measurements import PeakBytes
from tuneoff.records.run import (
    MemoryKind,
    RunIdentity,
    RunResult,
    Scores,
    TrainedRun,
    UnfinishedRun,
    UnfinishedStatus,
    UnsuccessfulRun,
)
from tuneoff.records.saved_model import BaseModel, RefitRows, TextRules
from tuneoff.runs.allocation import Allocation
from tuneoff.runs.run import Run
from tuneoff.spec.data import TASKS
from tuneoff.tasks.decide import with_rules
from tuneoff.training.parallel.process_rank import ProcessRank

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.spec import ExecutionSpec, TrainingSpec
    from tuneoff.tasks.base import Task


UNKNOWN = PeakBytes(train=None, eval=None, reserved=None)


@dataclass(frozen=True)
class RunTask:
    """All that a worker process needs to carry out a run.

    `study`, `base` and `texts` are what a saved model says of itself; `model_folder` may be another than that of `base`
    where the run is carried out.
    `epochs` is after how many training ends, where that is before all that its learning rate is planned for.
    `first_steps` is after how many a probe ends, which is set up for all of them; validation stands in for test there.
    `refit` is what a run is trained on that repeats one of the study on more rows; `data_folder` holds them as splits.
    `training` is the study's with `auto` resolved, and `allocation` is what the run computes on. `objective` names the
    metric that the study goes by.
    `micro_batch` is the number of sequences computed at once (all of a batch when None); `process` tells the processes
    of a run on several devices apart. `gpu_bytes` is what the run takes of a GPU at most, where it may share one with
    others; None where it is to have its device to itself, or where the user says how many runs go on at a time.
    """

    run: Run
    training: TrainingSpec
    execution: ExecutionSpec
    model_folder: Path
    data_folder: Path
    run_folder: Path
    pad_token_id: int
    study: str
    base: BaseModel
    texts: TextRules
    keep_model: bool
    allocation: Allocation
    objective: str = "accuracy"
    refit: RefitRows | None = None
    epochs: int | None = None
    first_steps: int | None = None
    micro_batch: int | None = None
    process: ProcessRank = field(default_factory=ProcessRank)
    gpu_bytes: int | None = None

    @property
    def num_labels(self) -> int:
        """How many outputs the model has."""
        return len(self.texts.label_names)

    @property
    def learned(self) -> Task:
        """What a label is; reads what codes stand for."""
        return TASKS.named(self.texts.task)(self.texts, load_targets(self.data_folder))

    def decided(self, result: RunResult) -> Task:
        """What a label is, with what the run has chosen on validation."""
        if not isinstance(result, Scores):
            return self.learned
        return with_rules(self.learned, temperature=result.temperature or 1.0, thresholds=result.thresholds)

    @property
    def log(self) -> Path:
        """Where this process writes what it prints."""
        return self.run_folder / (f"log-{self.process.rank}.txt" if self.process.rank else "log.txt")

    @property
    def memory_kind(self) -> MemoryKind:
        """What its peak memory is that of."""
        return "process_rss" if self.allocation.on_cpu else "cuda_allocated"

    def beside_others(self, gpu_bytes: int) -> RunTask:
        """The same run where it may share a GPU, of which it takes so many bytes."""
        return replace(self, gpu_bytes=gpu_bytes, allocation=replace(self.allocation, shared_device=True))

    def alone(self) -> RunTask:
        """The same run with a device to itself."""
        return replace(self, gpu_bytes=None, allocation=replace(self.allocation, shared_device=False))

    def identity(self) -> RunIdentity:
        """The fields of `result.json` that say which run it is."""
        run = self.run
        return RunIdentity(
            run_id=run.id,
            arm=run.arm.name,
            method=run.arm.method,
            seed=run.seed,
            part=run.part,
            learning_rate=run.arm.rate,
            steps=run.steps,
            trial=run.trial,
        )

    def unfinished(
        self,
        status: UnfinishedStatus,
        error: str,
        peak: PeakBytes = UNKNOWN,
        memory_kind: MemoryKind | None = None,
        conditions: Conditions | None = None,
    ) -> UnfinishedRun:
        """The result where the run has come to no end.

        Args:
            status: how it ended.
            error: why, in one line.
            peak: memory that it is known to have taken.
            memory_kind: what kind of memory that is; as the run was to be computed when left out.
            conditions: that it was computed under, where they are known.
        """
        return UnfinishedRun(
            **dict(self.identity()),
            status=status,
            error=error,
            peak_memory_bytes=peak,
            memory_kind=memory_kind or self.memory_kind,
            conditions=conditions,
        )


@dataclass(frozen=True)
class Outcome:
    """What a run sends back.

    `result` is the content of `result.json`, None from a process that has done its part and leaves the result to the
    run's first; `logits` those of the test split, of a run that succeeded;
    `stops_study` says that it failed for a reason that every run would fail for, such as a full disk; `failed_at`
    (of the machine's monotonic clock) when a process that failed noticed it, 0 where others found it dead.
    """

    result: RunResult | None
    logits: NDArray[np.float32] | None = None
    stops_study: bool = False
    failed_at: float = 0.0

    def sharing(self, seconds: float) -> Outcome:
        """The same of a run that went on beside others, and had so many seconds' worth of its device."""
        if not isinstance(self.result, TrainedRun) or not self.result.conditions.shared_device:
            return self
        return replace(self, result=self.result.model_copy(update={"own_seconds": seconds}))

    @property
    def failure(self) -> UnsuccessfulRun | None:
        """The result where it is none of success."""
        return self.result if isinstance(self.result, UnsuccessfulRun) else None
