"""Where memory and disk go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from tuneoff.core.texts import broken
from tuneoff.report.charts.arms import log_dots, memory_kind
from tuneoff.report.charts.style import (
    INK,
    NAME_LETTERS,
    Runs,
    arm_rows,
    colour,
    data,
    layers,
    room_beside,
    row_height,
)
from tuneoff.report.words import megabytes, memory_columns

if TYPE_CHECKING:
    from tuneoff.records.summary import Summary

BAR = 13
"""Pixels of a bar and the space to the next one."""
OPACITY = (1.0, 0.45, 0.15)
"""Of the bars of an arm, from the first to the third."""


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


def checkpoint(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Megabytes of the saved adapter and head, or model, on a logarithmic scale."""
    title = ["MB on disk", "adapter and head, or model"]
    return log_dots(summary, lambda arm: arm.checkpoint_bytes, 1e6, megabytes, title, ",~g")
