"""Several questions at once, with one risk of error for all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that the risk of any false positive stays at the level they are compared with.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    return _step_down(p_values, [len(p_values) - step for step in range(len(p_values))])


def close_to_best(p_values: Sequence[float]) -> list[float]:
    """As `holm`, for the hypotheses "this arm is worse than the best one by at least the margin", one an arm.

    The best arm's own hypothesis is always false, so at most all but one are true: the first step need not count all.

    Sources: Hsu 1981, Simultaneous confidence intervals for all distances from the "best", Annals of Statistics 9;
    Shaffer 1986, Modified sequentially rejective multiple test procedures, JASA 81 (logically possible hypotheses).
    """
    arms = len(p_values)
    return _step_down(p_values, [min(arms - step, max(arms - 1, 1)) for step in range(arms)])


def _step_down(p_values: Sequence[float], factors: Sequence[int]) -> list[float]:
    adjusted = np.empty(len(p_values))
    order = np.argsort(p_values, kind="stable")
    if len(order):
        steps = np.asarray(p_values, dtype=np.float64)[order] * factors
        adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
