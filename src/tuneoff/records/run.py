"""What a run came to: `result.json`.

A result is one of four records, by its status and by whether the run was a trial: `ScoredRun`, `TrainedRun` (a trial
that came to its end), `DivergedRun`, `UnfinishedRun`. `isinstance` tells them apart where their fields matter.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter

from tuneoff.records.conditions import Conditions
from tuneoff.records.measurements import CurvePoint, LossTrace, MeasuredPeakBytes, ParameterCounts, PeakBytes, PeakParts
from tuneoff.records.record import Record

RESULT_SCHEMA_VERSION: Final = 5

Status = Literal["ok", "failed", "diverged", "oom", "timeout", "interrupted"]
UnfinishedStatus = Literal["failed", "oom", "timeout", "interrupted"]
MemoryKind = Literal["cuda_allocated", "process_rss"]


class RunIdentity(Record):
    """Which run it is."""

    schema_version: Literal[5] = RESULT_SCHEMA_VERSION
    """of this file"""
    run_id: str
    """names the run, and ends in a hash of all that decides its result"""
    arm: str
    """name of the arm"""
    method: str
    """its method"""
    seed: int
    """of the head, the order of examples and the dropout"""
    part: str = ""
    """of the data: `fold-2`, `train-300`; empty where there is only the whole"""
    learning_rate: float
    """at the highest of its schedule"""
    steps: int
    """optimiser steps: done of a run that is `ok` (0 of a head that is fitted to features), planned of others"""
    trial: bool = False
    """whether it tunes: then it has no test scores"""


class RunResult(RunIdentity):
    """What every result has, whatever its status."""

    status: Status
    """how it ended; `diverged` where the training loss left no hope, and the run ended there"""
    peak_memory_bytes: PeakBytes
    """the most memory that it took; of several devices, on the one that needed the most"""
    memory_kind: MemoryKind
    """allocated on a GPU, or on a CPU resident memory of the whole process"""
    conditions: Conditions | None
    """what it was computed on; null where a run ended before that was known, and nothing of it was measured"""
    sha256: str | None = None
    """of this file's other fields"""


class UnsuccessfulRun(RunResult):
    """A run that did not come to its end."""

    status: Literal["failed", "diverged", "oom", "timeout", "interrupted"]
    """why it ended"""
    error: str
    """one line"""


class UnfinishedRun(UnsuccessfulRun):
    """A run that failed, ran out of memory or time, or was interrupted and is to go on."""

    status: UnfinishedStatus
    """why it ended"""


class DivergedRun(UnsuccessfulRun):
    """A run that was given up, since its training loss was no number any more, or had risen too far."""

    status: Literal["diverged"]
    """the training loss left no hope, and the run ended there"""
    guess_loss: float
    """the loss of guessing by the shares of the classes (as `class_weights` make them, where there are any), in nats;
    of numbers their variance, which is 1"""
    loss_trace: LossTrace
    """as that of a run that is `ok`, up to where it ended"""


class Measured(Record):
    """What is measured of runs that come to their end."""

    validation_accuracy: float | None
    """after the epoch whose weights are tested, from 0 to 1; of several labels an example, all of them right; null
    where labels are numbers"""
    parameters: ParameterCounts
    """logical counts, whatever 4-bit storage packs"""
    train_seconds: float
    """optimiser steps, also those after the epoch whose weights are tested, and what EVA reads before them; wall time,
    however many devices worked"""
    selected_train_seconds: float | None = None
    """likewise, up to the end of the epoch whose weights are tested; null in results of before"""
    setup_seconds: float
    """loading, adapting, graph capture, compilation"""
    eval_seconds: float
    """validation after each epoch, and test"""
    checkpoint_seconds: float = 0.0
    """writing checkpoints within the run, and the weights of the best epoch"""
    wall_seconds: float
    """of the run's process; of an interrupted run, without what was done in vain"""
    own_seconds: float | None = None
    """of a run beside others on its device: its share of the time that they had it for, from its process' start to its
    end; null of a run that had its device alone, and of several machines"""
    energy_joules: float | None = None
    """over `train_seconds`: of a GPU by its own counter, which moves every 20 to 100 ms (of several together), without
    the machine around it; on a CPU of all processor packages of the machine (RAPL), whatever else it does. Null where
    no counter can be read, where other runs computed on the device, of training shorter than a second, and in results
    of before"""
    train_examples_per_second: float
    """over `train_seconds`"""
    peak_memory_bytes: MeasuredPeakBytes
    """the most memory that it took; of several devices, on the one that needed the most"""
    memory_kind: MemoryKind
    """allocated on a GPU, or on a CPU resident memory of the whole process"""
    weights_bytes: int | None = None
    """of the peak in training: weights and buffers of the model as they are stored; null in results of before"""
    optimiser_bytes: int | None = None
    """of the peak in training: master weights and moments; null likewise"""
    memory_parts: PeakParts | None = None
    """what the peak in training is made of, within 2%; of several devices, on the one that needed the most. Null of a
    head that is fitted to features, where the step that needed the most was not seen, and in results of before"""
    conditions: Conditions
    """what it was computed on"""


class Scores(Record):
    """What is measured on the test split, once, at the end."""

    test_score: float | None = None
    """the study's objective; null in results of before it had one, which went by accuracy"""
    test_accuracy: float | None
    """from 0 to 1; of several labels an example, all of them right; null where labels are numbers"""
    test_macro_f1: float | None
    """mean of the classes' or labels' F1, from 0 to 1; null likewise"""
    test_metrics: dict[str, float] = Field(default_factory=dict)
    """others by name: of several labels an example `micro_f1`, `macro_f1` and `hamming_loss`; of numbers `r2`,
    `pearson`, `spearman`, and in the numbers' own units `mae` and `rmse`"""
    temperature: float | None = None
    """that logits are divided by before they become probabilities, chosen on validation; 1 where labels are numbers,
    null in results of before"""
    thresholds: tuple[float, ...] = ()
    """probabilities at the temperature above which labels are answered, chosen on validation: of several labels one
    each, of two classes that of the second; empty where the most probable is answered"""
    inference_latency_seconds: float | None = None
    """median time to classify one test text: a batch of one, from tokens in main memory to logits there, the way that
    the run evaluates (never compiled, nor a CUDA graph); over at most 30 texts, from the shortest to the longest, each
    classified once before. In no other time but `wall_seconds`. Null for a run on several devices"""
    inference_latency_p95_seconds: float | None = None
    """what 95% of these texts stay below; null likewise, and in results of before"""
    inference_texts_per_second: float | None = None
    """of the test split, in the batches that a run evaluates in; adapters are beside the weights, as they were trained.
    Null in results of before"""
    checkpoint_bytes: int
    """of the saved weights alone (safetensors): the adapter and the head, or the whole model"""

    @property
    def score(self) -> float:
        """The study's objective on test."""
        score = self.test_accuracy if self.test_score is None else self.test_score
        assert score is not None
        return score


class TrainedRun(Measured, RunResult):
    """A run that came to its end; as such a trial, which never opens the test split."""

    status: Literal["ok"] = "ok"
    """it came to its end"""
    peak_memory_bytes: MeasuredPeakBytes
    """the most memory that it took; of several devices, on the one that needed the most"""
    conditions: Conditions
    """what it was computed on"""
    curve: tuple[CurvePoint, ...]
    """an entry an epoch"""
    selected_epoch: int | None = None
    """whose weights are tested and saved: the last, or with `select = "best"` the best on validation; null in results
    of before, whose last it is"""
    guess_loss: float | None = None
    """the loss of guessing by the shares of the classes (as `class_weights` make them, where there are any), in nats;
    of numbers their variance, which is 1"""
    loss_trace: LossTrace = ()
    """25 pieces of the run: the step it ends at and its mean training loss in nats (null where that is no number: the
    run has ended there)"""
    resumed: bool = False
    """whether the run went on from a checkpoint"""

    @property
    def selected(self) -> CurvePoint:
        """The run after the epoch whose weights are tested."""
        return self.curve[-1] if self.selected_epoch is None else self.curve[self.selected_epoch - 1]


class ScoredRun(Scores, TrainedRun):
    """A run that came to its end and was scored on the test split."""

    trial: Literal[False] = False
    """it is none"""
    predictions_sha256: str | None = None
    """of `predictions.parquet`"""


class ScoredFolds(Scores, Measured):
    """The runs of a seed's folds as one result: scores of all their predictions together.

    Seconds are means over folds, memory and checkpoint the largest; of folds that were measured under several
    conditions, over those that have most of them in common.
    """

    arm: str
    """name of the arm"""
    method: str
    """its method"""
    seed: int
    """of the runs"""
    learning_rate: float | None
    """of the runs; null where folds were tuned to several"""


ScoredSeed = ScoredRun | ScoredFolds
"""What one seed of an arm came to: a run, or those of its folds."""


def _kind(value: Any) -> str:
    """Which record a result is, given as a mapping or as a record."""
    status, trial = (
        (value.get("status"), value.get("trial"))
        if isinstance(value, dict)
        else (getattr(value, "status", None), getattr(value, "trial", None))
    )
    if status == "ok":
        return "trained" if trial else "scored"
    return "diverged" if status == "diverged" else "unfinished"


STORED_RESULT: TypeAdapter[RunResult] = TypeAdapter(
    Annotated[
        Annotated[ScoredRun, Tag("scored")]
        | Annotated[TrainedRun, Tag("trained")]
        | Annotated[DivergedRun, Tag("diverged")]
        | Annotated[UnfinishedRun, Tag("unfinished")],
        Discriminator(_kind),
    ]
)
"""Reads and describes `result.json`."""
