"""What arms say, beside what is so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from tuneoff.report.charts.style import HEIGHT, INK, Rows, Runs, colour, dash, data, layers, shape

if TYPE_CHECKING:
    from tuneoff.records.summary import Summary

FEWEST = 10
"""Examples of a bin, over an arm's runs; of fewer its mean says little."""
TITLES = {
    "class": ("probability of the answer, %", "answers that are right, %"),
    "labels": ("probability of a label, %", "how often it is there, %"),
    "number": ("mean of the predictions", "mean of the labels"),
}


def reliability(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Bins of what arms say, against what is so; on the dotted line they are the same."""
    arms = summary.scored_arms
    unit = 1 if summary.data.label_kind == "number" else 100
    rows: Rows = [
        {"arm": arm.arm, "says": unit * one.predicted, "is": unit * one.observed, "examples": one.examples}
        for arm in arms
        for one in arm.reliability
        if one.examples >= FEWEST
    ]
    if len(rows) < 2:
        return None
    ends = [min(min(row["says"], row["is"]) for row in rows), max(max(row["says"], row["is"]) for row in rows)]
    across, up = TITLES[summary.data.label_kind]
    x = alt.X("says:Q", title=across, scale=alt.Scale(zero=False))
    y = alt.Y("is:Q", title=up, scale=alt.Scale(zero=False))
    names = [arm.arm for arm in arms]
    base = alt.Chart(data(rows)).encode(x=x, y=y, color=colour(summary, names))
    same = alt.Chart(data([{"says": end, "is": end} for end in ends]))
    tooltip = [alt.Tooltip("arm:N"), alt.Tooltip("examples:Q")]
    tooltip += [alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("says", "is")]
    return layers(
        HEIGHT,
        same.mark_line(color=INK, opacity=0.6, strokeDash=[2, 3], strokeWidth=1.5).encode(x=x, y=y),
        base.mark_line(strokeWidth=1.5).encode(strokeDash=dash(summary, names)),
        base.mark_point(filled=True, size=55, opacity=1).encode(shape=shape(summary, names), tooltip=tooltip),
    )
