"""What twice the labels would bring: the fitted curve, where nothing is told, and how it is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tuneoff.analysis.statistics import UnknowableError, extrapolate
from tuneoff.records.arm_summary import ScoredArm
from tuneoff.records.interval import MeanInterval
from tuneoff.records.summary import Forecast, LearningCurvePoint, LearningCurves, Summary
from tuneoff.report import evidence
from tuneoff.report.charts import CHARTS

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "forecast_simulation.py"
SIZES = [100, 200, 400]


def tables(errors: list[float], seeds: int = 3, examples: int = 1000) -> list[NDArray[np.float64]]:
    """Runs whose errors are nearly these, on test examples that are as hard at each size."""
    draw = np.random.default_rng(0)
    hard = draw.random(examples)
    return [(hard + draw.normal(0, 0.05, (seeds, examples)) > error).astype(np.float64) for error in errors]


def test_a_curve_goes_on() -> None:
    measured = tables([0.36, 0.28, 0.225])
    found = extrapolate(measured, SIZES, 800)
    now = measured[-1].mean()
    assert found.gain.low < 0.0375 < found.gain.high, "halfway to a floor of 10%"
    assert found.gain.mean == pytest.approx(0.0375, abs=0.015)
    assert found.accuracy.mean - now == pytest.approx(found.gain.mean, abs=0.005)
    assert found.gain.high - found.gain.low < found.accuracy.high - found.accuracy.low
    few = extrapolate(tables([0.36, 0.28, 0.225], seeds=2, examples=200), SIZES, 800)
    assert few.gain.high - few.gain.low > found.gain.high - found.gain.low
    further = extrapolate(measured, SIZES, 1600)
    assert further.gain.mean > found.gain.mean
    flat = extrapolate(tables([0.2, 0.2, 0.2, 0.2]), [50, *SIZES], 800)
    assert flat.gain.low < 0 < flat.gain.high < 0.03


@pytest.mark.parametrize(
    ("errors", "seeds", "why"),
    [
        ([0.3, 0.2], 3, "that takes 3 training sizes at which it learned, and there are 2"),
        ([0.3, 0.25, 0.2], 1, "one seed does not say"),
        ([0.1, 0.2, 0.3], 3, "does not grow with the training examples"),
        ([0.5, 0.45, 0.2], 2, "say too little"),
    ],
)
def test_where_nothing_can_be_told(errors: list[float], seeds: int, why: str) -> None:
    with pytest.raises(UnknowableError, match=why):
        extrapolate(tables(errors, seeds, examples=100), SIZES[-len(errors) :], 800)


def test_intervals_hold_the_truth(tmp_path: Path) -> None:
    cells = ("--curves", "power", "logarithm", "--seeds", "3", "--sizes", "3", "--examples", "300", "--lucks", "0.03")
    out = tmp_path / "cells.json"
    called = subprocess.run(
        [sys.executable, SCRIPT, "--studies", "100", "--json", out, *cells], capture_output=True, text=True
    )
    assert called.returncode == 0, called.stdout + called.stderr
    assert "Every requirement holds" in called.stdout
    rows = json.loads(out.read_text())
    assert [row["curve"] for row in rows] == ["power", "logarithm"]
    assert all(row["told"] > 0.5 for row in rows)


def interval(mean: float, width: float) -> MeanInterval:
    return MeanInterval(mean=mean, ci_low=mean - width, ci_high=mean + width, covers_seeds=True)


def test_how_it_is_shown() -> None:
    points = tuple(
        LearningCurvePoint(train_size=size, runs=3, test_score=interval(accuracy, 0.02))
        for size, accuracy in zip(SIZES, (0.64, 0.72, 0.775), strict=True)
    )
    curves = LearningCurves(
        train_sizes=tuple(SIZES),
        arms={"full": points, "lora": points},
        forecasts={
            "full": Forecast(train_size=800, test_score=interval(0.81, 0.03), gain=interval(0.035, 0.02), why_not=None),
            "lora": Forecast(train_size=800, test_score=None, gain=None, why_not="one seed"),
        },
        baselines={},
    )
    fields: dict[str, Any] = {"learning": None}  # all that is asked of an arm, beside its name
    arms = tuple(ScoredArm.model_construct(**fields, arm=arm) for arm in curves.arms)
    fields = {"learning_curves": curves, "arms": arms, "baselines": (), "metric": "accuracy"}
    summary = Summary.model_construct(**fields)
    assert evidence.forecasts(summary) == [
        "full: twice the labels (800) would bring +3.5 points (+1.5 to +5.5), to 81.0% (78.0 to 84.0)",
        "lora: what twice the labels (800) would bring cannot be told: one seed",
    ]
    assert evidence.curve_headings(summary) == ("arm", "100", "200", "400", "800 (forecast)")
    assert [row[-1] for row in evidence.curve_rows(summary)] == ["81.0% (78.0 to 84.0)", ""]
    chart = CHARTS["accuracy_by_train_size"].draw(summary, [])
    assert chart is not None
    rows = [row for values in chart.to_dict()["datasets"].values() for row in values if row.get("forecast")]
    assert [(row["arm"], row["examples"], row["accuracy"]) for row in rows] == [("full", 800, 81.0)]
