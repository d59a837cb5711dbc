"""Learning curves: over epochs, over training sizes, and validation accuracy over learning rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import altair as alt

from tuneoff.report.charts.style import (
    HEIGHT,
    INK,
    Rows,
    Runs,
    colour,
    dash,
    data,
    fill,
    filled_where,
    layers,
    log_axis,
    shape,
)
from tuneoff.report.words import axis

if TYPE_CHECKING:
    from tuneoff.records.measurements import CurvePoint
    from tuneoff.records.summary import Forecast, Summary


def validation_accuracy_by_epoch(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Validation accuracy after each epoch: mean over an arm's runs, and the range from the lowest to the highest."""
    return _by_epoch(summary, runs, lambda point: 100 * point.score, axis("validation", summary.metric))


def validation_loss_by_epoch(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Validation loss after each epoch, likewise."""
    return _by_epoch(summary, runs, lambda point: point.validation_loss, "validation loss")


def train_loss_by_epoch(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Mean training loss of each epoch, likewise."""
    return _by_epoch(summary, runs, lambda point: point.train_loss, "training loss")


def accuracy_by_train_size(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Test accuracy against the number of training examples, with intervals and baselines."""
    curves = summary.learning_curves
    if curves is None:
        return None
    rows: Rows = [
        {
            "arm": arm,
            "examples": point.train_size,
            "accuracy": 100 * point.test_score.mean,
            "low": 100 * point.test_score.ci_low,
            "high": 100 * point.test_score.ci_high,
            "runs": point.runs,
        }
        for arm, points in curves.arms.items()
        for point in points
        if point.test_score is not None
    ]
    if len({row["examples"] for row in rows}) < 2:  # a point is no curve
        return None
    labels = {baseline.baseline: baseline.label for baseline in summary.baselines}
    baselines = [
        {"baseline": labels[baseline], "examples": score.train_size, "accuracy": 100 * score.test_score}
        for baseline, scores in curves.baselines.items()
        for score in scores
    ]
    ahead = [row for arm, forecast in curves.forecasts.items() for row in _ahead(rows, arm, forecast)]
    sizes = sorted({*curves.train_sizes, *(row["examples"] for row in ahead)})
    across = log_axis("training examples", sizes[0] / 1.3, sizes[-1] * 1.3, "~s")
    x = alt.X("examples:Q", **across | {"axis": alt.Axis(values=sizes, format="~s", labelOverlap=True)})
    y = alt.Y("accuracy:Q", title=axis("test", summary.metric), scale=alt.Scale(zero=False))
    baseline_line = alt.Chart(data(baselines)).mark_line(color=INK, opacity=0.6, strokeDash=[2, 3], strokeWidth=1.5)
    tooltip = [alt.Tooltip("baseline:N"), alt.Tooltip("examples:Q"), alt.Tooltip("accuracy:Q", format=".1f")]
    return layers(
        HEIGHT,
        baseline_line.encode(x=x, y=y, detail=alt.Detail("baseline:N"), tooltip=tooltip),
        *(_forecasts(summary, ahead, x, y) if ahead else []),
        *_lines(summary, rows, x, y, ["arm:N", "examples:Q", "runs:Q"]),
    )


def _ahead(rows: Rows, arm: str, forecast: Forecast) -> Rows:
    """The way from an arm's largest size to its forecast; nothing where there is none."""
    accuracy = forecast.test_score
    if accuracy is None:
        return []
    last = [row for row in rows if row["arm"] == arm][-1]
    ends = {"accuracy": 100 * accuracy.mean, "low": 100 * accuracy.ci_low, "high": 100 * accuracy.ci_high}
    begins = dict.fromkeys(ends, last["accuracy"])
    return [
        {"arm": arm, "examples": last["examples"], **begins, "forecast": False},
        {"arm": arm, "examples": forecast.train_size, **ends, "forecast": True},
    ]


def _forecasts(summary: Summary, rows: Rows, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """A dotted line an arm to a hollow point, with a rule from `low` to `high`."""
    names = [arm.arm for arm in summary.scored_arms if any(row["arm"] == arm.arm for row in rows)]
    base = alt.Chart(data(rows)).encode(x=x, color=colour(summary, names, legend=False))
    points = base.transform_filter("datum.forecast")
    shown = [alt.Tooltip(f"{name}:Q", format=".1f") for name in ("accuracy", "low", "high")]
    return [
        points.mark_rule(strokeWidth=1.5, opacity=0.55, strokeDash=[2, 3]).encode(
            y=alt.Y("low:Q"), y2=alt.Y2("high:Q")
        ),
        base.mark_line(strokeWidth=1.5, strokeDash=[2, 3]).encode(y=y, detail=alt.Detail("arm:N")),
        points.mark_point(filled=False, size=55, opacity=1).encode(
            y=y, tooltip=[alt.Tooltip("arm:N"), alt.Tooltip("examples:Q"), *shown]
        ),
    ]


def tuning(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Validation accuracy of every learning rate that was tried; the chosen ones are filled."""
    if summary.tuning is None:
        return None
    rows: Rows = [
        {
            "arm": arm.arm,
            "part": arm.part,
            "rate": trial.learning_rate,
            "accuracy": 100 * trial.validation_score,
            "chosen": trial.learning_rate == arm.chosen,
        }
        for arm in summary.tuning.arms
        for trial in arm.trials
        if trial.validation_score is not None
    ]
    if not rows:
        return None
    names = [arm.arm for arm in summary.arms if any(row["arm"] == arm.arm for row in rows)]
    rates = [row["rate"] for row in rows]
    x = alt.X("rate:Q", **log_axis("learning rate", min(rates) / 1.6, max(rates) * 1.6, "~e"))
    y = alt.Y("accuracy:Q", title=axis("validation", summary.metric), scale=alt.Scale(zero=False))
    tint = colour(summary, names)
    base = alt.Chart(data(rows)).encode(x=x, y=y, color=tint, detail=[alt.Detail("arm:N"), alt.Detail("part:N")])
    return layers(
        HEIGHT,
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(strokeDash=dash(summary, names)),
        base.mark_point(size=90, strokeWidth=2, opacity=1).encode(
            shape=shape(summary, names),
            fill=fill(summary, names),
            fillOpacity=filled_where("datum.chosen"),
            tooltip=[
                *(alt.Tooltip(field) for field in ("arm:N", "part:N", "rate:Q")),
                alt.Tooltip("accuracy:Q", format=".1f"),
                alt.Tooltip("chosen:N"),
            ],
        ),
    )


def _by_epoch(summary: Summary, runs: Runs, value: Callable[[CurvePoint], float], title: str) -> alt.LayerChart | None:
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for run in runs:
        for point in run.curve:
            values[run.arm, point.epoch].append(value(point))
    rows: Rows = [
        {
            "arm": arm,
            "epoch": epoch,
            "accuracy": sum(found) / len(found),
            "low": min(found),
            "high": max(found),
            "runs": len(found),
        }
        for (arm, epoch), found in sorted(values.items())
    ]
    if not rows:
        return None
    last = max(row["epoch"] for row in rows)
    if last == 1:  # a point is no curve
        return None
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=min(last, 10))
    x = alt.X("epoch:Q", title="epoch", scale=alt.Scale(domain=[0.7, last + 0.3], nice=False), axis=axis)
    y = alt.Y("accuracy:Q", title=title, scale=alt.Scale(zero=False))
    return layers(HEIGHT, *_lines(summary, rows, x, y, ["arm:N", "epoch:Q", "runs:Q"]))


def _lines(summary: Summary, rows: Rows, x: alt.X, y: alt.Y, tooltip: list[str]) -> list[alt.Chart]:
    """A line an arm with a point at each of `rows`, and a rule from `low` to `high`."""
    names = [arm.arm for arm in summary.scored_arms if any(row["arm"] == arm.arm for row in rows)]
    tint = colour(summary, names)
    base = alt.Chart(data(rows)).encode(x=x, color=tint)
    shown = [alt.Tooltip("accuracy:Q", title="mean", format=".4~g")]
    shown += [alt.Tooltip(f"{end}:Q", format=".4~g") for end in ("low", "high")]
    return [
        base.mark_rule(strokeWidth=1.5, opacity=0.55).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash(summary, names)),
        base.mark_point(filled=True, size=55, opacity=1).encode(
            y=y, shape=shape(summary, names), tooltip=[*(alt.Tooltip(field) for field in tooltip), *shown]
        ),
    ]
