"""Temperatures: logits that are too large or too small are undone, and few examples prove little."""

from __future__ import annotations

import numpy as np
import pytest

from tuneoff.records.saved_model import TextRules
from tuneoff.spec.data import TASKS
from tuneoff.tasks.decide import fit_temperature


@pytest.mark.parametrize("name", ["single_label", "multi_label"])
@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_a_temperature_undoes_that_logits_are_too_large_or_too_small(name: str, factor: float) -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, (4000, 3))
    rules = TextRules(task=name, label_names=("a", "b", "c"), max_length=8)
    if name == "single_label":
        table = None
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        codes = (shares.cumsum(axis=1) < draw.random((4000, 1))).sum(axis=1)
    else:
        table = np.array([[code >> bit & 1 for bit in range(3)] for code in range(8)], dtype=np.float64)
        codes = (draw.random((4000, 3)) < 1 / (1 + np.exp(-logits))) @ np.array([1, 2, 4])
    task = TASKS.named(name)(rules, table)
    assert fit_temperature(task, (factor * logits).astype(np.float32), codes) == pytest.approx(factor, rel=0.07)


def test_a_few_examples_that_are_all_right_do_not_make_a_model_infallible() -> None:
    task = TASKS.named("single_label")(TextRules(label_names=("a", "b"), max_length=8))
    codes = np.array([0, 1] * 8)
    logits = np.where(np.eye(2)[codes] > 0, 1.0, -1.0).astype(np.float32)
    assert 0.2 < fit_temperature(task, logits, codes) < 1
    number = TASKS.named("regression")(TextRules(label_names=("stars",), max_length=8))
    assert fit_temperature(number, logits[:, :1], codes) == 1
