"""What the summary says of each arm."""

from __future__ import annotations

from tuneoff.records.class_scores import ByClass
from tuneoff.records.interval import MeanInterval
from tuneoff.records.learning import Learning
from tuneoff.records.measurements import ParameterCounts, PeakParts
from tuneoff.records.record import Record
from tuneoff.records.reliability import ReliabilityBin
from tuneoff.records.run import MemoryKind, Status


class FailedRun(Record):
    """A run of an arm that has ended, but not well."""

    seed: int
    """of the run"""
    part: str
    """of the data; empty where there is only the whole"""
    status: Status
    """why it ended"""
    error: str
    """one line"""


class ArmSummary(Record):
    """An arm; as such one of which no run has succeeded."""

    arm: str
    """its name"""
    method: str
    """its method"""
    learning_rate: float | None
    """of its runs; null where parts of the data were tuned to several, or none has succeeded"""
    learning: Learning | None
    """whether it learned; null where no run has ended"""
    runs: int
    """that have succeeded; those of a seed's folds count as one"""
    seeds: tuple[int, ...]
    """of these runs"""
    failed: tuple[FailedRun, ...]
    """runs that have ended, but not well"""

    @property
    def learned(self) -> bool:
        """Whether it learned its training data; an arm of which nothing is said did."""
        return self.learning is None or self.learning.state == "learned"


class ArmCosts(Record):
    """What runs of an arm cost that were measured under the same conditions."""

    conditions: dict[str, str]
    """what these costs depend on beside the arm: device, precision, versions and so on"""
    measured_runs: int
    """that these costs are of; those of a seed's folds count as one"""
    times_shared: bool
    """whether the times were taken beside other runs on the same device"""
    train_seconds: float
    """mean"""
    train_seconds_by_run: tuple[float, ...]
    """of each run"""
    selected_train_seconds: float | None = None
    """mean, up to the epoch whose weights are tested; null of runs of before"""
    train_examples_per_second: float
    """mean"""
    setup_seconds: float
    """mean"""
    eval_seconds: float
    """mean"""
    device_seconds: float
    """mean time of a run's process from its start to its end, times its GPUs: what a machine is paid for"""
    device_seconds_by_run: tuple[float, ...]
    """of each run"""
    energy_joules: float | None = None
    """mean of the optimiser steps of the runs that it was measured of; null where there are none"""
    inference_latency_seconds: float | None
    """mean; null where it was not measured"""
    inference_latency_seconds_by_run: tuple[float, ...]
    """of each run that it was measured of"""
    inference_latency_p95_seconds: float | None = None
    """mean of what 95% of texts stay below; null likewise"""
    inference_texts_per_second: float | None = None
    """mean, in batches; null where it was not measured"""
    peak_train_memory_bytes: int
    """highest; of memory, runs count that differ in what only times depend on"""
    peak_eval_memory_bytes: int
    """highest"""
    peak_reserved_memory_bytes: int
    """highest"""
    weights_memory_bytes: int | None = None
    """of the peak in training: weights as they are stored; null of runs of before"""
    optimiser_memory_bytes: int | None = None
    """of the peak in training: what the optimiser keeps; null likewise"""
    memory_parts: PeakParts | None = None
    """what the highest peak in training is made of; null where that is not known"""
    memory_kind: MemoryKind
    """of the first run"""
    precision: str
    """of the first run"""
    engine: dict[str, bool | int | str | tuple[int, ...]]
    """of the first run"""
    device: str
    """of the first run"""


class ScoredArm(ArmCosts, ArmSummary):
    """An arm of which a run has succeeded: its scores over these runs.

    Its costs are those under the conditions that most arms of the study have in common, where it has runs under them.
    """

    test_score: MeanInterval
    """the study's objective, over runs and test examples; the same as `test_accuracy` where that is the objective"""
    test_scores: tuple[float, ...]
    """of each run"""
    test_accuracy: MeanInterval | None
    """over runs and test examples; null where labels are numbers"""
    test_accuracies: tuple[float, ...]
    """of each run; none where labels are numbers"""
    test_macro_f1: float | None
    """mean; null where labels are numbers"""
    test_metrics: dict[str, float]
    """means of others, by name: those of the results of runs, and of the probabilities that `predict` gives `auroc` and
    `average_precision` (means over classes or labels, each against the rest) and `log_loss` in nats (of several labels
    the mean over them)"""
    by_class: ByClass | None
    """class by class, or label by label; null where labels are numbers"""
    expected_calibration_error: float | None
    """mean; of several labels an example, over the probability of each; null where labels are numbers"""
    calibrated_error: float | None
    """likewise of probabilities at the temperature of each run, which are those that `predict` gives"""
    brier_score: float | None
    """mean; of several labels an example, over each label as a class of two; null where labels are numbers"""
    reliability: tuple[ReliabilityBin, ...]
    """what its predictions say beside what is so, by what they say; probabilities in tenths, numbers in ten groups of
    the same size"""
    validation_accuracy: float | None
    """mean, after the epoch whose weights are tested; null where labels are numbers"""
    trainable_parameters: int
    """of the first run"""
    parameters: ParameterCounts
    """of the first run"""
    checkpoint_bytes: int
    """highest"""
    adapter_unmerged: bool
    """whether its latency is that of an adapter beside the weights, which merging would make faster"""
    other_costs: tuple[ArmCosts, ...]
    """of runs that were measured under other conditions, which are averaged with no others"""
