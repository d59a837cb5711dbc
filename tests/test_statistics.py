"""Statistics: against scipy, statsmodels and scikit-learn on the same arrays, and on made-up studies of known truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import permutation_test, t
from statsmodels.stats.contingency_tables import mcnemar  # type: ignore[import-untyped]
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from simulated import Setting, studies
from tuneoff.analysis.statistics import (
    CrossedMean,
    Field,
    PairedDifference,
    adjust_pairs,
    brier_score,
    expected_calibration_error,
    holm,
    least_examples,
    least_margin,
    lowest_sign_flip_p_value,
    mean_interval,
    needed_for_difference,
    needed_to_show,
    paired_difference,
    shown,
)
from tuneoff.records.class_scores import ClassScores
from tuneoff.tasks.by_class import score_classes
from tuneoff.tasks.probabilities import softmax

DRAW = np.random.default_rng(0)


def _correct(seeds: int, examples: int, accuracy: float) -> NDArray[np.float64]:
    return (DRAW.random((seeds, examples)) < accuracy).astype(np.float64)


# Coverage in % at 95%: allowed from 93 to 97 where a study has enough seeds and errors. In the other corners intervals
# are too wide rather than too narrow (docs/statistics.md has the measured table): with two or three seeds, and where
# arms differ on few examples.
COVERAGE = [
    (Setting(2, 100, (0.6, 0.6), seed_spread=0.4), (93, 98.5), (93, 98.5)),
    (Setting(2, 1000, (0.9, 0.9)), (94, 99.5), (94, 99.5)),
    (Setting(3, 300, (0.9, 0.9)), (94, 98.5), (94, 98.5)),
    (Setting(3, 500, (0.97, 0.97), seed_spread=0.4), (93, 98), (93, 98.5)),
    (Setting(5, 200, (0.6, 0.6)), (93, 97.5), (93, 97.5)),
    (Setting(5, 1000, (0.9, 0.9), seed_spread=0.4), (93, 97), (93, 98)),
    (Setting(5, 2000, (0.97, 0.97), seed_spread=0.02), (93, 97), (93, 98.5)),
    (Setting(10, 300, (0.9, 0.9), seed_spread=0.3), (93, 97.5), (93, 98)),
]


@pytest.mark.parametrize(("setting", "of_mean", "of_difference"), COVERAGE)
def test_intervals_hold_the_truth_as_often_as_they_say(
    setting: Setting, of_mean: tuple[float, float], of_difference: tuple[float, float]
) -> None:
    count = 500
    truth, _ = setting.accuracies
    found = [(mean_interval(a), paired_difference(a, b)) for a, b in studies(setting, count, generator_seed=1)]
    means = sum(interval.ci_low <= truth <= interval.ci_high for interval, _ in found)
    differences = sum(pair.difference.ci_low <= 0 <= pair.difference.ci_high for _, pair in found)
    assert of_mean[0] <= 100 * means / count <= of_mean[1]
    assert of_difference[0] <= 100 * differences / count <= of_difference[1]


@pytest.mark.parametrize("accuracy", [0.6, 0.9, 0.97])
def test_with_one_seed_the_interval_covers_the_trained_model(accuracy: float) -> None:
    """Examples alone: the spread of seeds is 0 here, since one seed cannot know it."""
    setting = Setting(1, 200, (accuracy,), seed_spread=0)
    intervals = [mean_interval(correct) for (correct,) in studies(setting, 1000, generator_seed=2)]
    covered = 100 * np.mean([interval.ci_low <= accuracy <= interval.ci_high for interval in intervals])
    assert 93 <= covered <= 97.5
    assert not any(interval.covers_seeds for interval in intervals)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(1, 300, (0.9,) * 3, seed_spread=0),
        Setting(2, 1000, (0.9,) * 3, seed_spread=0.4),
        Setting(3, 500, (0.7,) * 3, seed_spread=0.3),
        Setting(5, 500, (0.9,) * 3),
    ],
)
def test_equal_arms_are_seldom_told_apart_however_many_pairs_there_are(setting: Setting) -> None:
    count = 1000
    wrong = 0
    for arms in studies(setting, count, generator_seed=3):
        pairs = [paired_difference(arms[i], arms[j]) for i, j in product(range(3), range(3)) if i < j]
        wrong += min(holm([pair.p_value for pair in pairs])) < 0.05
    assert 100 * wrong / count <= 5.5


@pytest.mark.parametrize(
    "setting",
    [
        Setting(2, 1000, (0.9, 0.89)),
        Setting(3, 1000, (0.97, 0.96), seed_spread=0.02),
        Setting(3, 600, (0.8, 0.79), arm_spread=0, seed_spread=0, noise=0.05),  # a loss in one direction alone
        Setting(5, 1000, (0.9, 0.89), arm_spread=0.2, seed_spread=0.02, noise=0.3),
    ],
)
def test_a_loss_of_the_margin_is_seldom_called_none(setting: Setting) -> None:
    count = 1000
    wrong = sum(paired_difference(b, a).non_inferiority_p_value(0.01) < 0.05 for a, b in studies(setting, count, 4))
    assert 100 * wrong / count <= 5.5


def test_mcnemar_as_statsmodels_has_it() -> None:
    for examples, accuracy in ((40, 0.9), (300, 0.7), (2000, 0.95)):
        a, b = _correct(1, examples, accuracy), _correct(1, examples, accuracy - 0.05)
        table = [[int(((a == x) & (b == y)).sum()) for y in (1, 0)] for x in (1, 0)]
        found = paired_difference(a, b)
        assert found.p_value == pytest.approx(mcnemar(table, exact=True).pvalue)
        assert found.sign_flip_p_value is None


def test_holm_as_statsmodels_has_it() -> None:
    for count in (1, 2, 6, 66):
        p_values = DRAW.random(count) ** 3
        assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_the_correction_of_pairs_counts_those_that_can_be_equal_at_once() -> None:
    """Three arms: once one pair differs, at most one of the others is equal. Four: at most three of five."""
    assert adjust_pairs([0.01, 0.02, 0.04], arms=3) == pytest.approx([0.03, 0.03, 0.04])
    one_step_each = adjust_pairs(np.full(6, 0.01) + np.arange(6) * 1e-9, arms=4)
    assert one_step_each == pytest.approx(np.full(6, 0.06), rel=1e-6)
    apart = adjust_pairs([1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4], arms=4)
    assert apart == pytest.approx([6e-9, 3e-8, 3e-7, 3e-6, 2e-5, 1e-4])
    assert adjust_pairs([0.03], arms=2) == pytest.approx([0.03])
    assert adjust_pairs([0.01, 0.02], arms=3) == pytest.approx([0.02, 0.02])  # the third pair shares no seed
    assert len(adjust_pairs([], arms=1)) == 0
    for arms in (2, 5, 9):  # by trying all ways to group arms into equals
        pairs = list(combinations(range(arms), 2))
        p_values = np.sort(DRAW.random(len(pairs)) ** 3)
        assert (adjust_pairs(p_values, arms) <= np.array(holm(p_values.tolist())) + 1e-12).all()


def test_sign_flips_as_scipy_and_as_counted_by_hand() -> None:
    for seeds in (2, 5, 8):
        a, b = _correct(seeds, 100, 0.9), _correct(seeds, 100, 0.86)
        found = paired_difference(a, b).sign_flip_p_value
        sums = (a - b).sum(axis=1)
        flipped = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=seeds)]
        assert found == pytest.approx(np.mean([total >= abs(sums.sum()) - 1e-9 for total in flipped]))
        by_scipy = permutation_test((sums,), np.mean, permutation_type="samples", n_resamples=2**seeds)
        assert found == pytest.approx(by_scipy.pvalue)
    always_better = paired_difference(np.ones((5, 50)), _correct(5, 50, 0.5))
    assert always_better.sign_flip_p_value == lowest_sign_flip_p_value(5) == 1 / 16


def test_one_seeds_interval_is_wilsons() -> None:
    correct = _correct(1, 150, 0.95)
    interval = mean_interval(correct)
    wilson = proportion_confint(int(correct.sum()), 150, method="wilson")
    assert (interval.ci_low, interval.ci_high) == pytest.approx(wilson)


def test_the_error_of_a_mean_known_by_its_rows_alone_is_students() -> None:
    for seeds in (2, 3, 10, 20):
        rows_alone = CrossedMean(0.0, seeds, 100, 1.0, 0.0, 0.0, row_part=0.04, column_part=0.0, freedom=seeds - 1)
        for tail in (0.05, 0.025, 0.0004):
            assert rows_alone.half_width(tail) == pytest.approx(0.2 * t.isf(tail, seeds - 1), rel=1e-6)
            assert rows_alone.tail(rows_alone.half_width(tail)) == pytest.approx(tail, rel=1e-6)


def test_variances_come_out_as_they_went_in() -> None:
    draw = np.random.default_rng(1)
    rows, columns = draw.normal(0, 0.3, (20, 1)), draw.normal(0, 0.5, (1, 4000))
    crossed = CrossedMean.measure(rows + columns + draw.normal(0, 0.8, (20, 4000)), 0.0, ends=(-1.0, 1.0))
    assert crossed.seed_variance == pytest.approx(rows.var(ddof=1), rel=0.1)
    assert crossed.example_variance == pytest.approx(0.25, rel=0.1)
    assert crossed.residual_variance == pytest.approx(0.64, rel=0.02)


def test_the_p_value_and_the_interval_say_the_same() -> None:
    for _ in range(200):
        seeds = int(DRAW.integers(2, 6))
        a, b = _correct(seeds, 200, 0.9), _correct(seeds, 200, DRAW.uniform(0.8, 0.95))
        pair = paired_difference(a, b)
        outside = pair.difference.ci_low > 0 or pair.difference.ci_high < 0
        assert (pair.p_value < 0.05) == outside
        turned = PairedDifference.of(Field.measure([a, b]), 0, turned=True)
        assert turned.difference.ci_low == -pair.difference.ci_high
        margin = max(0.02, -pair.lower_bound())
        assert pair.non_inferiority_p_value(margin + 1e-4) <= 0.05 + 1e-6
        for side in (pair, turned):
            assert (side.non_inferiority_p_value(0.02) < 0.05) == (side.lower_bound() > -0.02)


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("examples", [2, 50, 1000])
def test_arms_without_an_error_have_an_interval_of_some_width(seeds: int, examples: int) -> None:
    perfect = np.ones((seeds, examples))
    right, wrong = mean_interval(perfect), mean_interval(1 - perfect)
    assert right.ci_low < right.mean == right.ci_high == 1
    assert wrong.ci_high > wrong.mean == wrong.ci_low == 0
    assert right.ci_low == pytest.approx(1 - wrong.ci_high)
    alike = paired_difference(perfect, perfect)
    assert alike.difference.ci_low < alike.difference.mean == 0 < alike.difference.ci_high
    assert alike.p_value == pytest.approx(1)


def test_models_that_have_learnt_nothing_have_an_interval_of_some_width() -> None:
    """Each says one class, not the same with every seed: all have the same accuracy, and no example is the harder."""
    labels = np.arange(60) % 2
    right = np.array([labels == said for said in (0, 1, 1)], dtype=np.float64)
    interval = mean_interval(right)
    assert interval.ci_low < 0.45 < interval.mean < 0.55 < interval.ci_high
    almost_always = np.ones((3, 60))
    almost_always[:, 0] = 0
    found = paired_difference(right, almost_always).difference
    assert found.ci_low < found.mean - 0.05
    assert found.mean < found.ci_high


def test_an_interval_holds_its_mean_and_stays_within_bounds() -> None:
    for _ in range(300):
        seeds, examples = int(DRAW.integers(1, 6)), int(DRAW.integers(1, 80))
        a, b = _correct(seeds, examples, DRAW.choice([0.02, 0.5, 0.98])), _correct(seeds, examples, 0.9)
        interval, difference = mean_interval(a), paired_difference(a, b).difference
        assert 0 <= interval.ci_low <= interval.mean <= interval.ci_high <= 1
        assert interval.ci_low < interval.ci_high
        assert -1 <= difference.ci_low <= difference.mean <= difference.ci_high <= 1
        assert difference.ci_low < difference.ci_high


def test_too_few_test_examples_cannot_exclude_a_loss() -> None:
    assert [least_examples(0.01, arms) for arms in (2, 4, 5, 8)] == [268, 449, 498, 595]
    for arms, margin in product((2, 4, 8), (0.01, 0.05, 0.2)):
        least = least_examples(margin, arms)
        for examples, found in ((least - 1, False), (least, True)):
            alike = Field.measure([np.ones((3, examples))] * arms)
            assert shown(alike, margin).any() == shown(alike, margin).all() == found
            assert (least_margin(examples, arms) <= margin) == found
    ahead = [np.ones((3, 100)), np.tile(np.arange(100) >= 20, (3, 1)).astype(float)]
    assert shown(Field.measure(ahead), 0.01).tolist() == [True, False]


def test_what_is_needed_would_show_it() -> None:
    """Of studies with as many seeds as were said to be needed, about 80% show the difference."""
    setting = Setting(10, 2000, (0.9, 0.88), arm_spread=0.2, seed_spread=0.15, noise=0.2)
    (a, b), *_ = studies(setting, 1, generator_seed=5)
    crossed = replace(paired_difference(a, b).crossed, mean=0.02)
    found = needed_for_difference(crossed, 0.025)
    assert found.seeds is not None
    enough = Setting(found.seeds, 2000, setting.accuracies, arm_spread=0.2, seed_spread=0.15, noise=0.2)
    shown = np.mean([paired_difference(a, b).p_value < 0.05 for a, b in studies(enough, 100, generator_seed=6)])
    assert 0.6 <= shown <= 0.95
    assert found.times is not None
    sizes = (10 * found.times, 2000 * found.times)
    more = Setting(*sizes, setting.accuracies, arm_spread=0.2, seed_spread=0.15, noise=0.2)
    shown = np.mean([paired_difference(a, b).p_value < 0.05 for a, b in studies(more, 40, generator_seed=7)])
    assert shown >= 0.6
    smaller = needed_for_difference(replace(crossed, mean=0.008), 0.025)
    assert smaller.seeds is None
    assert (smaller.times or 0) > found.times
    assert needed_for_difference(replace(crossed, mean=0.001), 0.025).seeds is None
    assert needed_for_difference(replace(crossed, mean=0.0), 0.025).test_examples is None
    alike = paired_difference(np.ones((3, 100)), np.ones((3, 100)))
    assert alike.needed_for_non_inferiority(0.01).seeds is None
    assert 268 <= (alike.needed_for_non_inferiority(0.01).test_examples or 0) <= 400
    to_show = needed_to_show(Field.measure([np.ones((3, 100))] * 5), 0.01, [2])
    assert (to_show.seeds, to_show.times) == (None, 5)
    assert 498 <= (to_show.test_examples or 0) <= 600


def test_classes_by_hand() -> None:
    runs = [([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 0]), ([0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0])]
    found = score_classes([(np.array(labels), np.array(said)) for labels, said in runs], ["a", "b", "c", "never"])
    assert found.balanced_accuracy == pytest.approx(((2 / 3 + 1 / 2 + 0) / 3 + (1 + 1 + 0) / 3) / 2)
    assert found.classes["a"].precision == pytest.approx((2 / 4 + 3 / 4) / 2)
    assert found.classes["a"].recall == pytest.approx((2 / 3 + 1) / 2)
    assert [scores.examples for scores in found.classes.values()] == [3, 2, 1, 0]
    assert found.classes["never"] == ClassScores(precision=0, recall=0, f1=0, examples=0)
    assert [(one.label, one.prediction, one.examples) for one in found.confusions] == [
        ("c", "a", 1.0), ("a", "b", 0.5), ("b", "a", 0.5),
    ]  # fmt: skip
    constant = score_classes([(np.array([0, 0, 0, 1]), np.zeros(4, int))], ["a", "b"])
    assert (constant.balanced_accuracy, constant.mcc) == (0.5, 0.0)


def test_calibration() -> None:
    from sklearn.metrics import brier_score_loss

    labels = DRAW.integers(0, 3, 500)
    logits = DRAW.normal(0, 2, (500, 3)) + 2 * np.eye(3)[labels]
    probabilities = softmax(logits)
    predictions = probabilities.argmax(axis=1)
    assert brier_score(labels, probabilities) == pytest.approx(brier_score_loss(labels, probabilities))
    confidence = probabilities.max(axis=1)
    by_hand = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            by_hand += inside.mean() * abs(confidence[inside].mean() - (predictions == labels)[inside].mean())
    assert expected_calibration_error(labels, probabilities) == pytest.approx(by_hand)
    certain = np.eye(2)[[0, 1, 1, 0]]
    assert expected_calibration_error(np.array([0, 1, 1, 0]), certain) == 0
    assert expected_calibration_error(np.array([1, 0, 0, 1]), certain) == 1
    assert brier_score(np.array([1, 0, 0, 1]), certain) == 2
