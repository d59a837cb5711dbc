"""Differences between pairs of arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from tuneoff.core.texts import broken
from tuneoff.report.charts.style import INK, Rows, Runs, data, filled_where, layers, named_rows, row_height

if TYPE_CHECKING:
    from tuneoff.records.summary import Summary

PAIR_LETTERS = 22
"""Of a pair's name in a line."""
VERDICTS = {
    "better": "beyond the noise",
    "not shown": "not shown after correcting for all pairs",
    "tie": "inside the margin",
    "not told apart": "not told apart",
    "unranked": "one seed: not ranked",
}


def differences(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """The difference in the objective on test of each pair that learned, with its interval; filled beyond the noise."""
    compared = [pair for pair in summary.comparisons if not pair.not_learned]
    if not compared:
        return None
    rows: Rows = [
        {
            "pair": f"{pair.a} − {pair.b}",
            "points": 100 * pair.difference.mean,
            "low": 100 * pair.difference.ci_low,
            "high": 100 * pair.difference.ci_high,
            "seeds": pair.seeds,
            "shown": VERDICTS[pair.verdict],
        }
        for pair in compared
    ]
    names = {row["pair"]: broken(row["pair"], PAIR_LETTERS) for row in rows}
    y = named_rows("pair:N", names)
    x = alt.X(
        "points:Q",
        title=[f"difference in test {summary.metric}, points", "with 95% interval"],
        axis=alt.Axis(titleAnchor="end"),  # beside long names it is wider than the chart
    )
    base = alt.Chart(data(rows)).encode(y=y)
    zero = alt.Chart(data([{"at": 0}])).mark_rule(color=INK, strokeWidth=1.2).encode(x=alt.X("at:Q"))
    points = (alt.Tooltip(f"{name}:Q", format="+.1f") for name in ("points", "low", "high"))
    tooltip = [alt.Tooltip("pair:N"), *points, alt.Tooltip("seeds:Q")]
    return layers(
        row_height(names.values(), 26) * len(rows),
        zero,
        base.mark_rule(strokeWidth=2, color=INK, opacity=0.6).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q")),
        base.mark_point(size=70, strokeWidth=2, opacity=1, stroke=INK, fill=INK).encode(
            x=x,
            fillOpacity=filled_where("datum.shown == 'beyond the noise'"),
            tooltip=[*tooltip, alt.Tooltip("shown:N", title="verdict")],
        ),
    )
