"""Where memory and disk go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from tuneoff.core.texts import broken
from tuneoff.report.charts.arms import ON_GPU, arm_height, log_dots, memory_kind
from tuneoff.report.charts.style import (
    COLOURS,
    INK,
    NAME_LETTERS,
    Rows,
    Runs,
    arm_rows,
    colour,
    data,
    layers,
    legend_columns,
    room_beside,
    row_height,
)
from tuneoff.report.memory_parts import PARTS, parts_of, shown_parts
from tuneoff.report.words import megabytes, memory_columns

if TYPE_CHECKING:
    from tuneoff.records.summary import Summary

BAR = 13
"""Pixels of a bar and the space to the next one."""
OPACITY = (1.0, 0.45, 0.15)
"""Of the bars of an arm, from the first to the third."""
BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY, YELLOW = COLOURS
PART_COLOURS = dict(zip(PARTS, (GREY, BLUE, ORANGE, RED, GREEN, SKY, SKY, PINK, YELLOW, GREY), strict=True))
"""Grey is what no step asks for: a run has the first or the last."""


def memory_breakdown(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Peaks in training and evaluation, and what the allocator held where that is more: a bar each."""
    arms = summary.scored_arms
    if not arms:
        return None
    names = [arm.arm for arm in arms]
    columns = memory_columns(summary)
    rows = [
        {"arm": arm.arm, "kind": kind, "value": getattr(arm, field) / 1e6, "text": megabytes(getattr(arm, field))}
        for arm in arms
        for field, kind in columns.items()
    ]
    end = max(row["value"] for row in rows) / (1 - room_beside([row["text"] for row in rows], names))
    x = alt.X(
        "value:Q",
        title=["MB", memory_kind(summary)],
        scale=alt.Scale(domain=[0, end], nice=False),
        axis=alt.Axis(tickCount=4, labelOverlap=True),
    )
    kinds = list(columns.values())
    legend = alt.Legend(title=None, columns=2, symbolType="square", symbolFillColor=INK, symbolStrokeColor=INK)
    base = alt.Chart(data(rows)).encode(y=arm_rows(names), yOffset=alt.YOffset("kind:N", sort=kinds))
    tint = colour(summary, names, legend=False)
    return layers(
        row_height([broken(name, NAME_LETTERS) for name in names], BAR * len(kinds) + 10) * len(names),
        base.mark_bar(height=BAR - 3, strokeWidth=1).encode(
            x=x,
            color=tint,
            stroke=alt.Stroke("arm:N", scale=tint["scale"], legend=None),
            fillOpacity=alt.FillOpacity(
                "kind:N", sort=kinds, scale=alt.Scale(domain=kinds, range=list(OPACITY[: len(kinds)])), legend=legend
            ),
            tooltip=[alt.Tooltip("arm:N"), alt.Tooltip("kind:N"), alt.Tooltip("text:N", title="size")],
        ),
        base.mark_text(align="left", dx=6, fontSize=11, color=INK).encode(x=x, text=alt.Text("text:N")),
    )


def memory_parts(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """What the memory of each arm's training is for, on top of each other; rows tell arms apart, and colours parts."""
    by_arm = {arm.arm: parts for arm in summary.scored_arms if (parts := parts_of(arm))}
    if not by_arm:
        return None
    rows = [
        {"arm": arm, "part": part, "place": PARTS.index(part), "value": size / 1e6, "text": megabytes(size)}
        for arm, parts in by_arm.items()
        for part, size in parts.items()
    ]
    ends: Rows = [
        {"arm": arm, "value": sum(parts.values()) / 1e6, "text": megabytes(sum(parts.values()))}
        for arm, parts in by_arm.items()
    ]
    names, shown = list(by_arm), shown_parts(summary)
    end = max(row["value"] for row in ends) / (1 - room_beside([row["text"] for row in ends], names))
    kind = memory_kind(summary)
    x = alt.X(
        "value:Q",
        title=["MB", "taken of the GPU" if kind == ON_GPU else kind],
        scale=alt.Scale(domain=[0, end], nice=False),
        axis=alt.Axis(tickCount=4, labelOverlap=True),
    )
    legend = alt.Legend(title=None, columns=legend_columns(shown), symbolType="square", symbolOpacity=1)
    colours = alt.Scale(domain=shown, range=[PART_COLOURS[part] for part in shown])
    tint = alt.Color("part:N", scale=colours, legend=legend)
    tooltip = [alt.Tooltip("arm:N"), alt.Tooltip("part:N"), alt.Tooltip("text:N", title="size")]
    y = arm_rows(names)
    return layers(
        arm_height(names) * len(names),
        alt.Chart(data(rows))
        .mark_bar(height=16)
        .encode(x=x, y=y, color=tint, order=alt.Order("place:Q"), tooltip=tooltip),
        alt.Chart(data(ends))
        .mark_text(align="left", dx=7, fontSize=11, color=INK)
        .encode(x=x, y=y, text=alt.Text("text:N")),
    )


def checkpoint(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Megabytes of the saved adapter and head, or model, on a logarithmic scale."""
    title = ["MB on disk", "adapter and head, or model"]
    return log_dots(summary, lambda arm: arm.checkpoint_bytes, 1e6, megabytes, title, ",~g")
