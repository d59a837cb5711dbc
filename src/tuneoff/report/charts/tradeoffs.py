"""Accuracy against what it costs: every arm with its interval, every run, and the arms on the Pareto front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import altair as alt

from tuneoff.analysis.wording import ACCURACY
from tuneoff.report.charts.style import (
    HEIGHT,
    INK,
    Rows,
    Runs,
    Spec,
    colour,
    cost_axis,
    data,
    fill,
    filled_where,
    layers,
    shape,
)
from tuneoff.report.words import axis, duration, megabytes, score

if TYPE_CHECKING:
    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.run import ScoredRun
    from tuneoff.records.summary import Summary


@dataclass(frozen=True)
class Cost:
    """A cost that accuracy is drawn against.

    Attributes:
        field: of the summary's arms and of `pareto`.
        title: of the axis, with the unit.
        unit: what one of the axis is in the field's unit.
        of_run: a run's; None where it was not measured.
        format: of the axis.
    """

    field: str
    title: str
    unit: float
    of_run: Callable[[ScoredRun], float | None]
    format: str = ",~r"


TIME = Cost("train_seconds", "training time, s", 1, lambda run: run.train_seconds)
MEMORY = Cost(
    "peak_train_memory_bytes", "peak training memory, MB", 1e6, lambda run: run.peak_memory_bytes.train, ",~r"
)
PARAMETERS = Cost("trainable_parameters", "trainable parameters", 1, lambda run: run.parameters.trainable, "~s")
LATENCY = Cost(
    "inference_latency_seconds", "time to classify one text, ms", 1e-3, lambda run: run.inference_latency_seconds
)


def by_time(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Test accuracy against training time."""
    return _tradeoff(summary, runs, TIME)


def by_memory(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Test accuracy against peak training memory."""
    return _tradeoff(summary, runs, MEMORY)


def by_parameters(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Test accuracy against trainable parameters."""
    return _tradeoff(summary, runs, PARAMETERS)


def by_latency(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Test accuracy against the time to classify one text."""
    return _tradeoff(summary, runs, LATENCY)


RUN_TOOLTIP = ("run", "seed", "learning rate", "test {metric}", "train time", "peak memory")
MEAN_TOOLTIP = ("arm", "runs", "test {metric}", "95% interval", "train time", "peak memory", "Pareto front")


def _tradeoff(summary: Summary, runs: Runs, cost: Cost) -> alt.LayerChart | None:
    arms = [arm for arm in summary.scored_arms if getattr(arm, cost.field) is not None]
    if not arms:
        return None
    names = [arm.arm for arm in arms]
    front = summary.pareto.get(cost.field, ())
    means = [_mean(arm, cost, front, summary.metric) for arm in arms]
    scores = {(arm.arm, seed): value for arm in arms for seed, value in zip(arm.seeds, arm.test_scores, strict=True)}
    points = [
        _run(run, found / cost.unit, _score_of(run, summary, scores), summary.metric)
        for run in runs
        if run.arm in names and (found := cost.of_run(run)) is not None
    ]
    x = alt.X("cost:Q", **cost_axis(cost.title, [row["cost"] for row in means + points], cost.format))
    y = alt.Y("accuracy:Q", title=axis("test", summary.metric), scale=alt.Scale(zero=False))
    tint, form = colour(summary, names), shape(summary, names)
    base = alt.Chart(data(means))
    line = alt.Chart(data(_best_means(means))).mark_line(color=INK, opacity=0.5, strokeDash=[3, 3], strokeWidth=1)
    on_front = [line.encode(x=x, y=y, order=alt.Order("cost:Q"))] if front else []
    intervals = base.mark_rule(strokeWidth=2).encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=tint)
    each = alt.Chart(data(points)).mark_point(filled=True, size=28, opacity=0.8, stroke=INK, strokeWidth=0.7)
    middle = base.mark_point(size=120, strokeWidth=2, opacity=1).encode(
        x=x,
        y=y,
        color=tint,
        shape=form,
        fill=fill(summary, names),
        fillOpacity=filled_where("datum.front"),
        tooltip=[alt.Tooltip(f"{name.format(metric=summary.metric)}:N") for name in MEAN_TOOLTIP],
    )
    tooltip = [alt.Tooltip(f"{name.format(metric=summary.metric)}:N") for name in RUN_TOOLTIP]
    return layers(
        HEIGHT,
        *on_front,
        intervals,
        middle,
        each.encode(x=x, y=y, fill=fill(summary, names), shape=form, tooltip=tooltip),
    )


def _score_of(run: ScoredRun, summary: Summary, scores: dict[tuple[str, int], float]) -> float:
    """The objective of a run; of one of several folds, where that is not accuracy, that of all folds of its seed."""
    return run.score if summary.metric == ACCURACY else scores.get((run.arm, run.seed), run.score)


def _best_means(means: Rows) -> Rows:
    """The arms on the front that no cheaper one there reaches in mean accuracy, from the cheapest on."""
    best: Rows = []
    for row in sorted((row for row in means if row["front"]), key=lambda row: (row["cost"], -row["accuracy"])):
        if not best or row["accuracy"] > best[-1]["accuracy"]:
            best.append(row)
    return best


def _mean(arm: ScoredArm, cost: Cost, front: tuple[str, ...], metric: str) -> Spec:
    interval = arm.test_score
    return {
        "arm": arm.arm,
        "cost": getattr(arm, cost.field) / cost.unit,
        "accuracy": 100 * interval.mean,
        "low": 100 * interval.ci_low,
        "high": 100 * interval.ci_high,
        "front": arm.arm in front,
        "runs": arm.runs,
        f"test {metric}": score(interval.mean, metric),
        "95% interval": f"{100 * interval.ci_low:.1f} to {100 * interval.ci_high:.1f}",
        "train time": duration(arm.train_seconds),
        "peak memory": megabytes(arm.peak_train_memory_bytes),
        "Pareto front": "on it" if arm.arm in front else "not on it",
    }


def _run(run: ScoredRun, cost: float, value: float, metric: str) -> Spec:
    return {
        "arm": run.arm,
        "cost": cost,
        "accuracy": 100 * value,
        "run": run.run_id,
        "seed": run.seed,
        "learning rate": f"{run.learning_rate:g}",
        f"test {metric}": score(value, metric),
        "train time": duration(run.train_seconds),
        "peak memory": megabytes(run.peak_memory_bytes.train),
    }
