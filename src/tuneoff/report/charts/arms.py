"""The four charts that this project grew from: accuracy, trainable parameters, training time and memory by arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import altair as alt

from tuneoff.core.texts import broken
from tuneoff.report.charts.style import (
    INK,
    LETTER,
    NAME_LETTERS,
    Rows,
    Runs,
    arm_rows,
    colour,
    data,
    filled_where,
    layers,
    log_axis,
    room_beside,
    row_height,
)
from tuneoff.report.words import axis, duration, megabytes, score

if TYPE_CHECKING:
    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.summary import BaselineSummary, Summary

ON_GPU = "allocated on the GPU"
NEAR_BASELINE = 15
"""A baseline is drawn where it is at most so many points below the lowest interval, so that it squeezes nothing."""


def accuracy(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """The mean of the objective on test with its interval, every seed, and the baselines."""
    arms = summary.scored_arms
    if not arms:
        return None
    names = [arm.arm for arm in arms]
    rows: Rows = [
        {
            "arm": arm.arm,
            "mean": 100 * arm.test_score.mean,
            "low": 100 * arm.test_score.ci_low,
            "high": 100 * arm.test_score.ci_high,
            "text": f"{100 * arm.test_score.mean:.1f}",
            "learned": arm.learned,
        }
        for arm in arms
    ]
    seeds: Rows = [{"arm": arm.arm, "value": 100 * value} for arm in arms for value in arm.test_scores]
    lowest = min([*(row["low"] for row in rows), *(row["value"] for row in seeds)])
    near = [baseline for baseline in summary.baselines if 100 * baseline.test_score > lowest - NEAR_BASELINE]
    x = alt.X(
        "mean:Q",
        title=[axis("test", summary.metric), "mean, 95% interval; ticks: seeds"],
        scale=alt.Scale(zero=False),
    )
    y, tint = arm_rows(names), colour(summary, names, legend=False)
    inside = alt.Fill("arm:N", scale=tint["scale"], legend=None)
    base = alt.Chart(data(rows)).encode(y=y)
    drawn = [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), color=tint),
        base.mark_point(size=90, strokeWidth=2, opacity=1).encode(
            x=x, color=tint, fill=inside, fillOpacity=filled_where("datum.learned")
        ),
        base.mark_text(dy=-11, fontSize=11, color=INK).encode(x=x, text=alt.Text("text:N")),
        alt.Chart(data(seeds))
        .mark_tick(yOffset=9, height=6, thickness=1.5, opacity=0.8)
        .encode(x=alt.X("value:Q"), y=y, color=tint),
    ]
    highest = max([*(row["high"] for row in rows), *(row["value"] for row in seeds)])
    middle = (min([lowest, *(100 * baseline.test_score for baseline in near)]) + highest) / 2
    for line, baseline in enumerate(near):
        drawn.extend(_baseline(baseline, summary.metric, line, left_of_rule=100 * baseline.test_score > middle))
    return layers((arm_height(names) + 8) * len(rows), *drawn)


def _baseline(baseline: BaselineSummary, metric: str, line: int, left_of_rule: bool) -> list[alt.Chart]:
    """A baseline's rule, and its name above the chart, in a line of its own, counted from 0 upwards."""
    at = 100 * baseline.test_score
    text = f"{baseline.label} {score(baseline.test_score, metric)}"
    base = alt.Chart(data([{"value": at, "text": text}]))
    align: Literal["left", "right"] = "right" if left_of_rule else "left"
    wide = 5 + LETTER * len(text)
    rule_at = f"scale('x', {at:.6g})"
    # A name that is wider than the chart goes on above the names of the arms.
    inside = f"min(max({rule_at} + 3, {wide:g}), width)" if left_of_rule else f"min({rule_at} - 3, width - {wide:g})"
    name = base.mark_text(
        align=align, baseline="bottom", x=alt.ExprRef(inside), dy=-3 - 14 * line, fontSize=11, color=INK
    )
    rule = base.mark_rule(color=INK, strokeDash=[2, 3], strokeWidth=1.2, opacity=0.8)
    return [rule.encode(x=alt.X("value:Q")), name.encode(y=alt.value(0), text=alt.Text("text:N"))]


def arm_height(arms: list[str]) -> int:
    """Pixels of an arm's row."""
    return row_height(broken(arm, NAME_LETTERS) for arm in arms)


def trainable_parameters(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Trainable parameters, head included, on a logarithmic scale."""
    title = ["trainable parameters", "head included"]
    return log_dots(summary, lambda arm: arm.trainable_parameters, 1, "{:,}".format, title, "~s")


def log_dots(
    summary: Summary,
    cost: Callable[[ScoredArm], int],
    unit: float,
    text: Callable[[int], str],
    title: list[str],
    label_format: str,
) -> alt.LayerChart | None:
    """A cost of each arm as a dot on a logarithmic scale, with its number beside it.

    Args:
        summary: of the study.
        cost: of an arm.
        unit: what one of the axis is in the cost's unit.
        text: writes a cost.
        title: of the axis, in lines.
        label_format: of the axis.
    """
    arms = summary.scored_arms
    if not arms:
        return None
    names = [arm.arm for arm in arms]
    values = [cost(arm) / unit for arm in arms]
    lowest = min(values) / 3
    rows: Rows = [
        {"arm": arm.arm, "value": value, "from": lowest, "text": text(cost(arm))}
        for arm, value in zip(arms, values, strict=True)
    ]
    room = room_beside([row["text"] for row in rows], names)
    logarithmic = log_axis(title[0], lowest, lowest * (max(values) / lowest) ** (1 / (1 - room)), label_format)
    x = alt.X("value:Q", **logarithmic | {"title": [logarithmic["title"], *title[1:]]})
    y, tint = arm_rows(names), colour(summary, names, legend=False)
    base = alt.Chart(data(rows)).encode(y=y)
    return layers(
        arm_height(names) * len(names),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(x=alt.X("from:Q"), x2=alt.X2("value:Q"), color=tint),
        base.mark_point(filled=True, size=90, opacity=1).encode(x=x, color=tint),
        base.mark_text(align="left", dx=9, fontSize=11, color=INK).encode(x=x, text=alt.Text("text:N")),
    )


def training_time(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Mean seconds in optimiser steps, and every run's."""
    each = [{"arm": arm.arm, "value": value} for arm in summary.scored_arms for value in arm.train_seconds_by_run]
    title = ["seconds in optimiser steps", "mean; ticks: runs"]
    return _bars(summary, lambda arm: arm.train_seconds, 1, duration, title, each)


def peak_memory(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """The highest peak of memory in training."""
    title = ["peak memory in training, MB", memory_kind(summary)]
    return _bars(summary, lambda arm: arm.peak_train_memory_bytes, 1e6, megabytes, title, [])


def memory_kind(summary: Summary) -> str:
    """What the memory of this study's runs is."""
    kinds = {arm.memory_kind for arm in summary.scored_arms}
    return ON_GPU if kinds == {"cuda_allocated"} else "resident, with libraries"


def _bars(
    summary: Summary,
    cost: Callable[[ScoredArm], float],
    unit: float,
    text: Callable[[float], str],
    title: list[str],
    each: Rows,
) -> alt.LayerChart | None:
    arms = summary.scored_arms
    if not arms:
        return None
    names = [arm.arm for arm in arms]
    rows: Rows = [{"arm": arm.arm, "value": cost(arm) / unit, "text": text(cost(arm))} for arm in arms]
    most = max(row["value"] for row in rows + each)
    end = most / (1 - room_beside([row["text"] for row in rows], names))
    few = alt.Axis(tickCount=4, labelOverlap=True)
    x = alt.X("value:Q", title=title, scale=alt.Scale(domain=[0, end], nice=False), axis=few)
    y = arm_rows(names)
    base = alt.Chart(data(rows)).encode(y=y)
    drawn = [
        base.mark_bar(height=16).encode(x=x, color=colour(summary, names, legend=False)),
        base.mark_text(align="left", dx=7, fontSize=11, color=INK).encode(x=x, text=alt.Text("text:N")),
    ]
    if each:
        ticks = alt.Chart(data(each)).mark_tick(yOffset=11, height=5, thickness=1.5, color=INK, opacity=0.7)
        drawn.append(ticks.encode(x=alt.X("value:Q"), y=y))
    return layers(arm_height(names) * len(names), *drawn)
