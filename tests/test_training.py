"""Order, schedule, loop and statistics."""

from __future__ import annotations

import numpy as np
import pytest

from tuneoff.analysis.statistics import mean_interval
from tuneoff.training.optim.adamw import learning_rates
from tuneoff.training.order import by_length, epoch_batches

LENGTHS = np.random.default_rng(0).integers(3, 200, size=1001)


@pytest.mark.parametrize("bucketed", [False, True])
def test_an_epoch_holds_every_example_once_in_batches_of_the_asked_size(bucketed: bool) -> None:
    batches = epoch_batches(LENGTHS, 16, seed=1, epoch=0, bucketed=bucketed)
    assert sorted(np.concatenate(batches)) == list(range(1001))
    assert sorted(map(len, batches)) == [1001 % 16] + [16] * (1001 // 16)
    again = epoch_batches(LENGTHS, 16, seed=1, epoch=0, bucketed=bucketed)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    for other in (epoch_batches(LENGTHS, 16, 2, 0, bucketed), epoch_batches(LENGTHS, 16, 1, 1, bucketed)):
        assert not np.array_equal(np.concatenate(other), np.concatenate(batches))


def test_buckets_hold_less_padding() -> None:
    def padded(bucketed: bool) -> int:
        return sum(len(rows) * LENGTHS[rows].max() for rows in epoch_batches(LENGTHS, 16, 0, 0, bucketed))

    assert padded(bucketed=True) < 1.1 * LENGTHS.sum() < padded(bucketed=False)


def test_evaluation_batches_stay_inside_the_budget() -> None:
    batches = by_length(LENGTHS, 1000)
    assert sorted(np.concatenate(batches)) == list(range(1001))
    assert all(len(rows) == 1 or len(rows) * LENGTHS[rows].max() <= 1000 for rows in batches)


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    rates = learning_rates(1.0, steps=100, warmup_ratio=0.1)
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 90)
    assert learning_rates(1.0, steps=1, warmup_ratio=0.0) == [1.0]


def test_the_interval_covers_both_seeds_and_examples() -> None:
    draw = np.random.default_rng(0)
    examples_alone = np.tile(draw.random(400) < 0.8, (3, 1)).astype(float)
    interval = mean_interval(examples_alone)
    spread = np.sqrt(interval.mean * (1 - interval.mean) / 400)
    assert interval.ci_high - interval.ci_low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    seeds_alone = np.repeat([[0.7], [0.8], [0.9]], 400, axis=1)
    interval = mean_interval(seeds_alone)
    assert interval.mean == pytest.approx(0.8)
    assert interval.ci_low < 0.75 < 0.85 < interval.ci_high
