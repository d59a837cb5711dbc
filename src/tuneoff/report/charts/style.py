"""How every chart looks: one colour and one shape an arm, intervals drawn, text in the colour of its surroundings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import altair as alt

from tuneoff.core.texts import broken
from tuneoff.records.run import ScoredRun

if TYPE_CHECKING:
    from tuneoff.records.summary import Summary

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#F0E442")
"""Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), grey for its black: told apart with every common colour
blindness, on white and on black. With more than eight arms colours return, with other shapes and dashes."""
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-right", "triangle-left")
DASHES = ([1, 0], [6, 3], [2, 2])
INK = "currentColor"
"""SVG's word for the colour of the text around it: black in a file, light on a dark page."""
FONT = "system-ui, sans-serif"
FILE_WIDTH = 380
ROW = 30
HEIGHT = 260
MOST_TICKS = 7
LEGEND_LETTERS = 44
"""What a line of a legend holds on a phone, a symbol counting as four."""
NAME_LETTERS = 20
"""Of a name in a line at a chart's left."""
PHONE_WIDTH, LETTER, LINE = 310, 6.6, 14
"""Pixels: a chart on a phone; a letter of its labels; a line of them."""

Spec = dict[str, Any]
"""A piece of Vega-Lite, such as a row of a chart's data, or what Altair takes by name."""
Rows = list[Spec]
Runs = Sequence[ScoredRun]


def arm_colours(summary: Summary) -> dict[str, str]:
    """A colour for each arm, with results or not, so that it stays the same while a study goes on."""
    return {arm.arm: COLOURS[index % len(COLOURS)] for index, arm in enumerate(summary.arms)}


def colour(summary: Summary, arms: list[str], legend: bool = True) -> alt.Color:
    """The colour of the field `arm`; the legend names `arms`, those that the chart shows."""
    colours = arm_colours(summary)
    scale = alt.Scale(domain=arms, range=[colours[arm] for arm in arms])
    return alt.Color("arm:N", scale=scale, legend=_legend(arms) if legend else None)


def fill(summary: Summary, arms: list[str]) -> alt.Fill:
    """The colour inside the field `arm`'s points, where some are to be hollow."""
    of_lines = colour(summary, arms)
    return alt.Fill("arm:N", scale=of_lines["scale"], legend=of_lines["legend"])


def filled_where(test: str) -> alt.FillOpacityValue:
    """Fills points of which an expression is true, and leaves others hollow."""
    return alt.FillOpacityValue(0, condition={"test": test, "value": 1})


def shape(summary: Summary, arms: list[str]) -> alt.Shape:
    """The shape of the field `arm`'s points."""
    shapes = {arm.arm: SHAPES[(index + index // len(COLOURS)) % len(SHAPES)] for index, arm in enumerate(summary.arms)}
    scale = alt.Scale(domain=arms, range=[shapes[arm] for arm in arms])
    return alt.Shape("arm:N", scale=scale, legend=_legend(arms))


def dash(summary: Summary, arms: list[str]) -> alt.StrokeDash:
    """The dashes of the field `arm`'s lines."""
    dashes = {arm.arm: DASHES[index // len(COLOURS) % len(DASHES)] for index, arm in enumerate(summary.arms)}
    scale = alt.Scale(domain=arms, range=[dashes[arm] for arm in arms])
    return alt.StrokeDash("arm:N", scale=scale, legend=_legend(arms))


def arm_rows(arms: list[str]) -> alt.Y:
    """A row for each arm, named at the left, in the study's order."""
    return named_rows("arm:N", {arm: broken(arm, NAME_LETTERS) for arm in arms})


def named_rows(field: str, names: dict[str, list[str]]) -> alt.Y:
    """A row for each value of a field, in order, with its name at the left in full.

    Args:
        field: with its type, as Altair writes it.
        names: by value, the lines of its name.
    """
    axis = alt.Axis(
        ticks=False,
        domain=False,
        grid=False,
        labelLimit=0,
        labelExpr=f"{json.dumps(names)}[datum.label]",
        labelOffset=_upwards(names),
    )
    return alt.Y(field, sort=list(names), title=None, axis=axis)


def _upwards(names: dict[str, list[str]]) -> Any:
    """How far labels of several lines are moved, so that their middle, and not their first line, is at their row's."""
    lines = {len(name) for name in names.values()} - {1}
    if not lines:
        return alt.Undefined
    moved = []
    for count in sorted(lines):
        these = json.dumps([value for value, name in names.items() if len(name) == count])
        moved.append({"test": f"indexof({these}, datum.value) >= 0", "value": -LINE * (count - 1) / 2})
    return {"condition": moved, "value": 0}


def row_height(names: Iterable[list[str]], least: int = ROW) -> int:
    """Pixels of each row, in which the names with the most lines have room."""
    return max(least, 6 + LINE * max(map(len, names)))


def room_beside(texts: list[str], arms: list[str]) -> float:
    """How much of a chart's width, from 0 to a half, texts at the ends of its bars need on a phone.

    Args:
        texts: of which the longest counts.
        arms: named at the left, in lines of `broken`.
    """
    names = max(len(line) for arm in arms for line in broken(arm, NAME_LETTERS))
    return min(0.5, (LETTER * max(map(len, texts)) + 14) / (PHONE_WIDTH - LETTER * names - 16))


def data(rows: Rows) -> alt.InlineData:
    """Rows as a chart's data, numbers cut to six digits; a tuple, since Altair copies lists over and over."""
    return alt.InlineData(values=tuple({key: _short(value) for key, value in row.items()} for row in rows))


def cost_axis(title: str, values: list[float], label_format: str) -> Spec:
    """Title, scale and axis of a cost: logarithmic where positive values span more than a factor of five, which the
    title says, else linear and not from zero."""
    if min(values) > 0 and max(values) > 5 * min(values):
        return log_axis(title, min(values) / 1.6, max(values) * 1.6, label_format)
    # A label within so many pixels of an end is kept inside: there is no room beside the chart on a phone.
    axis = alt.Axis(format=label_format, tickCount=5, labelOverlap=True, labelFlush=12)
    return {"title": title, "scale": alt.Scale(zero=False, nice=True, padding=14), "axis": axis}


def log_axis(title: str, low: float, high: float, label_format: str) -> Spec:
    """Title, scale and axis of positive values on a logarithmic scale, with at most seven ticks at round numbers."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = [
        [digit * 10.0**power for power in range(first, last + 1, every) for digit in digits]
        for digits, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3))
    ]
    inside = [[value for value in values if low <= value <= high] for values in steps]
    ticks = next((values for values in inside if len(values) <= MOST_TICKS), inside[-1])
    return {
        "title": f"{title} (log scale)",
        "scale": alt.Scale(type="log", domain=[low, high], nice=False),
        "axis": alt.Axis(format=label_format, values=ticks, labelOverlap=True, labelFlush=12),
    }


def layers(height: int, *charts: alt.Chart) -> alt.LayerChart:
    """Charts on top of each other."""
    layered = alt.layer(*charts)
    assert isinstance(layered, alt.LayerChart)
    layered["height"] = height  # `properties` would copy all that is in the chart, which takes as long as making it
    return layered


def styled(chart: alt.LayerChart, width: int | str) -> alt.LayerChart:
    """The chart with the common style; `width` in pixels, or `container`."""
    copy = chart.copy(deep=False)
    copy["width"] = width
    copy["background"] = "transparent"
    copy["autosize"] = alt.AutoSizeParams(type="fit-x", contains="padding")
    copy["config"] = _style()
    return copy


@cache
def _style() -> alt.Config:
    return alt.Config(
        font=FONT,
        padding=4,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=INK,
            titleColor=INK,
            tickColor=INK,
            domainColor=INK,
            gridColor=INK,
            gridOpacity=0.13,
            tickOpacity=0.4,
            domainOpacity=0.4,
            labelFontSize=12,
            titleFontSize=11.5,
            titleFontWeight="normal",
            titlePadding=8,
            labelFlush=False,
        ),
        legend=alt.LegendConfig(
            orient="bottom",
            labelColor=INK,
            titleColor=INK,
            labelFontSize=12,
            labelLimit=0,
            symbolSize=70,
            symbolStrokeWidth=2,
            title=None,
        ),
        title=alt.TitleConfig(color=INK, fontSize=14, anchor="start", subtitleColor=INK, offset=10),
    )


def legend_columns(names: list[str]) -> int:
    """In how many columns a phone has room for the names of a legend."""
    return max(1, min(LEGEND_LETTERS // (4 + max(map(len, names))), len(names)))


def _legend(arms: list[str]) -> alt.Legend:
    names = {arm: broken(arm, LEGEND_LETTERS - 4) for arm in arms}
    expression = (
        f"{json.dumps(names)}[datum.label]" if any(len(lines) > 1 for lines in names.values()) else alt.Undefined
    )
    return alt.Legend(title=None, columns=legend_columns(arms), symbolOpacity=1, labelExpr=expression)


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
