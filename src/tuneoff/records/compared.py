"""Studies side by side: what `tuneoff compare` finds."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from tuneoff.records.interval import MeanInterval
from tuneoff.records.record import Record

StudiesVerdict = Literal["a", "b", "not shown", "tie", "not told apart", "unranked", "not learned"]


class ComparedStudy(Record):
    """A study that is compared."""

    name: str
    """what it is called in the comparison: A, B and so on"""
    folder: str
    """where it is"""
    study: str
    """its own name"""
    model: str
    """folder, or id on the Hub"""


class SettingDifference(Record):
    """What is not the same in two studies."""

    setting: str
    """its name, as the study file has it"""
    a: JsonValue
    """in the first study; null where it is absent"""
    b: JsonValue
    """in the other one; null where it is absent"""


class CostsOfBoth(Record):
    """A cost of an arm in two studies."""

    a: float | int
    """in the first study"""
    b: float | int
    """in the other one"""
    ratio: float | None
    """`b` to `a`; null where that is 0"""


class StudiesDifference(Record):
    """Test accuracy in the other study less that in the first one."""

    difference: MeanInterval
    """paired by seed and test example"""
    p_value: float
    """two-sided, against no difference"""
    p_value_holm: float | None = None
    """after Holm's correction over the comparisons of its kind; null where it is not among them"""
    verdict: StudiesVerdict | None = None
    """which study is more accurate, or why none is named; null where none is to be: the arms were picked by it"""


class ArmDifference(StudiesDifference):
    """Test accuracy of a pair of arms, on the seeds that both have."""

    a: float
    """mean in the first study, from 0 to 1"""
    b: float
    """mean in the other one"""


class OverallDifference(StudiesDifference):
    """All pairs of arms that learned together."""

    arms: int
    """how many pairs"""
    left_out: tuple[str, ...]
    """arms of the first study of which one of a pair did not learn"""
    seeds: tuple[int, ...]
    """that all pairs have"""
    cost_ratios: dict[str, float]
    """geometric mean of the pairs' ratios, by cost; without costs that some pair does not have"""


class ArmPair(Record):
    """An arm of the first study and one of another, of the same name or options, or the best of each."""

    arm_a: str
    """name in the first study"""
    arm_b: str
    """name in the other one"""
    differences: tuple[SettingDifference, ...]
    """of their options"""
    seeds: tuple[int, ...]
    """that have results in both"""
    not_learned: tuple[str, ...]
    """names of the studies in which the arm did not learn"""
    test_accuracy: ArmDifference | None
    """null without a shared seed"""
    costs: dict[str, CostsOfBoth]
    """by the field of `summary.json`"""
    left_out: dict[str, str]
    """why a cost is not among these, by its field"""


class StudyComparison(Record):
    """The first study and another one."""

    a: str
    """what the first one is called"""
    b: str
    """what the other one is called"""
    margin: float
    """accuracy that may be lost, as the first study has it"""
    differences: tuple[SettingDifference, ...]
    """of models, settings and conditions"""
    pairs: tuple[ArmPair, ...]
    """arms of the same name or options"""
    only_in_a: tuple[str, ...]
    """arms without a partner"""
    only_in_b: tuple[str, ...]
    """likewise"""
    overall: OverallDifference | None
    """null where no pair of arms learned on a shared seed"""
    best: ArmPair | None
    """each study's most accurate arm of those that learned, without a verdict; null where they share no seed"""
    notes: tuple[str, ...]
    """what a reader must know, in sentences"""


class ComparedStudies(Record):
    """What `tuneoff compare` finds."""

    studies: tuple[ComparedStudy, ...]
    """the first one and those that are compared with it"""
    comparisons: tuple[StudyComparison, ...]
    """one for each study but the first"""
