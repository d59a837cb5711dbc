"""The analysis of a study, from which every report is made: `summary.json`."""

from __future__ import annotations

from typing import Final, Literal

from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.comparison import Comparison, Headline
from tuneoff.records.emissions import Emissions
from tuneoff.records.finding import Finding
from tuneoff.records.interval import MeanInterval
from tuneoff.records.label_issue import LabelCheck
from tuneoff.records.label_kind import LabelKind
from tuneoff.records.money import Money
from tuneoff.records.recommendation import Recommendation
from tuneoff.records.record import Record
from tuneoff.records.tuning import TuningSummary

SUMMARY_SCHEMA_VERSION: Final = 8


class DataSummary(Record):
    """The data that was studied."""

    source: str
    """where it came from, as `data.source` says"""
    sizes: dict[str, int]
    """examples by split"""
    folds: int | None
    """how many; null without"""
    task: str
    """what a label is: `single_label`, `multi_label`, `regression`, or one of another package"""
    label_kind: LabelKind
    """of what kind its labels are"""
    label_names: tuple[str, ...]
    """of the model's outputs, in their order: classes, labels, or what the number is"""
    cut_texts: dict[str, int]
    """texts of which tokens go unread, by split"""
    removed: dict[str, int]
    """rows that were left out, by reason"""


class RunCounts(Record):
    """How many runs there are; without trials."""

    planned: int
    """in all"""
    done: int
    """have ended, those that failed included"""
    failed: int
    """have ended, but not well"""


class BaselineSummary(Record):
    """A baseline beside the arms."""

    baseline: str
    """its name"""
    label: str
    """what it is called"""
    test_score: float
    """the study's objective"""
    test_accuracy: float | None
    """from 0 to 1; null where labels are numbers"""
    test_examples: int
    """that it was scored on"""


class LearningCurvePoint(Record):
    """An arm at a training size."""

    train_size: int
    """training examples"""
    runs: int
    """that have succeeded"""
    test_score: MeanInterval | None
    """the study's objective over these; null where there are none"""


class BaselineCurvePoint(Record):
    """A baseline at a training size."""

    train_size: int
    """training examples"""
    test_score: float
    """the study's objective"""


class Forecast(Record):
    """What twice the largest training size would bring an arm, by a curve fitted to its sizes."""

    train_size: int
    """twice the largest"""
    test_score: MeanInterval | None
    """accuracy to be expected there; its interval also covers which curve it is; null where that cannot be told"""
    gain: MeanInterval | None
    """on the largest size, likewise"""
    why_not: str | None
    """why it cannot be told; otherwise null"""


class LearningCurves(Record):
    """The objective on test against the number of training examples."""

    train_sizes: tuple[int, ...]
    """ascending"""
    arms: dict[str, tuple[LearningCurvePoint, ...]]
    """by arm, a point a size"""
    forecasts: dict[str, Forecast]
    """by arm, what twice the largest size would bring"""
    baselines: dict[str, tuple[BaselineCurvePoint, ...]]
    """by baseline, a point a size"""


class BreakdownGroup(Record):
    """The test examples with one value of the column."""

    value: str
    """as text"""
    test_examples: int
    """how many"""
    test_score: dict[str, float]
    """the study's objective on these examples, mean over runs, by arm"""


class Breakdown(Record):
    """The objective on test by the values of a column."""

    column: str
    """its name"""
    groups: tuple[BreakdownGroup, ...]
    """the largest first"""


class Summary(Record):
    """The analysis of a study."""

    schema_version: Literal[8] = SUMMARY_SCHEMA_VERSION
    """of this file"""
    study: str
    """its name"""
    model: str
    """folder, or id on the Hub"""
    data: DataSummary
    """what was studied"""
    objective: str
    """the name of the metric that tuning, comparison and recommendation go by"""
    metric: str
    """what people call it, in the middle of a sentence"""
    seeds: tuple[int, ...]
    """of the study"""
    runs: RunCounts
    """how many runs there are"""
    arms: tuple[ScoredArm | ArmSummary, ...]
    """in the study's order"""
    baselines: tuple[BaselineSummary, ...]
    """cheap references"""
    headlines: tuple[Headline, ...]
    """for each baseline whether an arm beats it"""
    comparisons: tuple[Comparison, ...]
    """of each pair of arms that share a seed"""
    pareto: dict[str, tuple[str, ...]]
    """for each cost the arms on its front, none of which did not learn; empty where no arm learned"""
    recommendation: Recommendation
    """which arm to use"""
    notes: tuple[str, ...]
    """sentences about what the study cannot show"""
    learning_curves: LearningCurves | None
    """with `train_sizes`; otherwise null"""
    tuning: TuningSummary | None
    """null where nothing was tuned"""
    money: Money | None = None
    """what the study cost; null where it names no price"""
    emissions: Emissions | None = None
    """what CO2 runs stand for; null where the study names no grams a kilowatt-hour, or no energy was measured"""
    breakdown: Breakdown | None
    """the objective on test by the values of a column, or null"""
    label_check: LabelCheck | None
    """how many labels are worth a look; null where no arm learned"""
    audit: tuple[Finding, ...]
    """the findings about the data"""

    @property
    def scored_arms(self) -> tuple[ScoredArm, ...]:
        """The arms of which a run has succeeded, in the study's order."""
        return tuple(arm for arm in self.arms if isinstance(arm, ScoredArm))
