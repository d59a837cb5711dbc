"""What the summary says of each pair of arms, and of arms against baselines."""

from __future__ import annotations

from typing import Literal

from tuneoff.records.interval import MeanInterval
from tuneoff.records.record import Record

PairVerdict = Literal["better", "not shown", "tie", "not told apart", "unranked", "not learned"]
BaselineVerdict = Literal["beaten", "not shown", "not beaten", "better"]


class NeededData(Record):
    """What would show something at a chance of 80%, if the truth is what was seen."""

    seeds: int | None
    """in all, with the same test examples; null where more seeds alone do not help, or not within 100"""
    test_examples: int | None
    """in all, with the same seeds, rounded up to two digits; null where more examples alone do not help"""
    times: int | None
    """so many times the seeds and the test examples, both; null where that does not help, or not 100 times"""


class Needed(Record):
    """What would show what is not shown yet."""

    difference: NeededData | None
    """that `a` is more accurate than `b`; null where it is shown"""
    non_inferiority_of_b: NeededData | None
    """that `b` loses less than the margin; null where it is shown"""


class Variances(Record):
    """Where the noise of a difference comes from."""

    seeds: float
    """of the seeds"""
    examples: float
    """of the test examples"""
    residual: float
    """of both together"""


class NonInferiority(Record):
    """Whether an arm loses less than the margin against the other."""

    lower_bound: float
    """one-sided, of its accuracy minus the other's"""
    p_value: float
    """against the hypothesis that it is worse by the margin or more"""
    shown: bool
    """whether that is below the risk"""


class NonInferiorityOfBoth(Record):
    """Whether either arm loses less than the margin against the other."""

    margin: float
    """accuracy that may be lost"""
    a: NonInferiority
    """of `a`"""
    b: NonInferiority
    """of `b`"""


class Comparison(Record):
    """Two arms on the seeds that both have."""

    a: str
    """the arm of higher mean on these seeds"""
    b: str
    """the other arm"""
    metric: str = "accuracy"
    """what they are compared by, as people call it"""
    a_is_most_accurate: bool
    """whether `a` is shown to be better by it than every other arm"""
    seeds: int
    """that both have"""
    test_examples: int
    """that both were scored on"""
    difference: MeanInterval
    """the metric of `a` minus that of `b`"""
    test: Literal["crossed", "mcnemar"]
    """that the p value is of; `mcnemar` with one seed, where arms are compared by accuracy"""
    p_value: float
    """two-sided, against no difference"""
    p_adjusted: float
    """for all pairs of the study"""
    adjusted_for: int
    """how many comparisons"""
    p_sign_flip: float | None
    """from flipping the signs of the seeds' differences; null with one seed"""
    lowest_p_sign_flip: float | None
    """what that cannot go below with so many seeds; null with one seed"""
    verdict: PairVerdict
    """`better`: `a` is so, by the metric; `not shown`: its interval leaves out 0, but it is one of several comparisons;
    `tie`: it lies inside the margin on both sides; `not told apart`: it reaches beyond; `unranked`: one seed"""
    variances: Variances | None
    """null with one seed"""
    non_inferiority: NonInferiorityOfBoth | None
    """null with one seed"""
    needed: Needed | None
    """null with one seed"""
    not_learned: tuple[str, ...]
    """which of both did not learn"""


class Headline(Record):
    """Whether an arm beats a baseline."""

    baseline: str
    """its name"""
    label: str
    """what it is called in a sentence"""
    arm: str
    """the best; of those that beat it, where one does"""
    difference: MeanInterval
    """the study's objective of that arm minus the baseline's"""
    p_holm: float
    """two-sided, after Holm's correction over the arms"""
    verdict: BaselineVerdict
    """of the baseline; `not shown`: an arm has a higher mean, but that is not shown; `better`: than every arm"""
    beaten_by: tuple[str, ...]
    """arms that are shown to be better"""
    sentence: str
    """what the reports say of it"""
