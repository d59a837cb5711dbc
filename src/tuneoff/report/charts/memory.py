"""Where memory and disk go."""

from __future__ import annotations

from typing import Any

import altair as alt

from tuneoff.report.charts.arms import memory_kind
from tuneoff.report.charts.style import INK, ROW, Runs, arm_rows, colour, data, done, layers, log_axis
from tuneoff.report.words import megabytes

KINDS = {
    "peak_train_memory_bytes": "training peak",
    "peak_eval_memory_bytes": "evaluation peak",
    "peak_reserved_memory_bytes": "reserved",
    "checkpoint_bytes": "checkpoint",
}


def memory_breakdown(summary: dict[str, Any], runs: Runs) -> alt.LayerChart | None:
    """Peaks in training and evaluation, what the allocator held, and the checkpoint on disk, a mark each."""
    arms = done(summary)
    if not arms:
        return None
    names = [arm["arm"] for arm in arms]
    rows = [
        {"arm": arm["arm"], "kind": kind, "value": arm[field] / 1e6, "text": megabytes(arm[field])}
        for arm in arms
        for field, kind in KINDS.items()
    ]
    values = [row["value"] for row in rows]
    axis = log_axis("MB", min(values) / 2, max(values) * 2, ",~g")
    x = alt.X("value:Q", **axis | {"title": [axis["title"], f"memory {memory_kind(summary)}"]})
    shape_scale = alt.Scale(domain=list(KINDS.values()), range=["circle", "square", "triangle-up", "diamond"])
    legend = alt.Legend(title=None, columns=2, labelLimit=150, symbolStrokeColor=INK)
    spread = alt.Chart(data(rows)).encode(y=arm_rows(names), color=colour(summary, names, legend=False))
    return layers(
        ROW * len(names),
        spread.mark_line(strokeWidth=1, opacity=0.5).encode(x=x, detail="arm:N"),
        spread.mark_point(size=85, strokeWidth=2, opacity=1).encode(
            x=x,
            shape=alt.Shape("kind:N", scale=shape_scale, legend=legend),
            tooltip=["arm:N", "kind:N", alt.Tooltip("text:N", title="size")],
        ),
    )
