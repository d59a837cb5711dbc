"""The four charts of the comparison, as SVG and PNG, from the plain summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, told apart with every common colour blindness; one colour an arm in every chart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#F0E442")
INK = "#333333"


def arm_colours(summary: dict[str, Any]) -> dict[str, str]:
    """A colour for each arm, in the order of the study."""
    return {arm["arm"]: COLOURS[index % len(COLOURS)] for index, arm in enumerate(summary["arms"])}


def draw_charts(summary: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Writes `<name>.svg` and `<name>.png` for each chart into `folder`.

    Returns:
        The SVG files by chart name; empty where no arm has results.
    """
    arms = [arm for arm in summary["arms"] if arm["runs"]]
    if not arms:
        return {}
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    style: Any = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": INK,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "svg.fonttype": "none",
        "svg.hashsalt": "tuneoff",
        "figure.dpi": 150,
    }
    written = {}
    for name, draw in CHARTS.items():
        with matplotlib.rc_context(style):
            figure, axes = pyplot.subplots(figsize=(5.2, 1.05 + 0.42 * len(arms)), layout="constrained")
            draw(axes, summary, arms)
            axes.set_yticks(range(len(arms)), [arm["arm"] for arm in arms])
            axes.invert_yaxis()
            axes.tick_params(axis="y", length=0)
            for suffix in ("svg", "png"):
                with replacing(folder / f"{name}.{suffix}") as temporary:
                    metadata = {"Date": None} if suffix == "svg" else None
                    figure.savefig(temporary, format=suffix, metadata=metadata, facecolor="white")
            pyplot.close(figure)
        written[name] = folder / f"{name}.svg"
    return written


def _accuracy(axes: Axes, summary: dict[str, Any], arms: list[dict[str, Any]]) -> None:
    colours = arm_colours(summary)
    lowest = 100.0
    for row, arm in enumerate(arms):
        interval = arm["test_accuracy"]
        mean, low, high = (100 * interval[key] for key in ("mean", "ci_low", "ci_high"))
        axes.errorbar(mean, row, xerr=[[mean - low], [high - mean]], fmt="o", color=colours[arm["arm"]], capsize=3)
        seeds = [100 * value for value in arm["test_accuracies"]]
        axes.plot(seeds, [row + 0.22] * len(seeds), "|", color=colours[arm["arm"]], alpha=0.7, markersize=6)
        axes.annotate(f"{mean:.1f}", (mean, row), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=8)
        lowest = min([lowest, low, *seeds])
    for floor in summary["floors"]:
        value = 100 * floor["test_accuracy"]
        if value > lowest - 15:
            axes.axvline(value, color=INK, linestyle=":", linewidth=1)
            axes.annotate(floor["label"], (value, -0.55), fontsize=7, ha="center", va="bottom", annotation_clip=False)
    axes.set_ylim(-0.5, len(arms) - 0.4)
    axes.set_xlabel(f"test accuracy in %\nmean of {_seeds(arms)} (ticks) and 95% interval")


def _trainable(axes: Axes, summary: dict[str, Any], arms: list[dict[str, Any]]) -> None:
    _bars(axes, summary, arms, "trainable_parameters", 1, "{:,.0f}")
    axes.set_xscale("log")
    smallest, largest = (pick(arm["trainable_parameters"] for arm in arms) for pick in (min, max))
    axes.set_xlim(smallest / 3, largest * 12)
    axes.set_xlabel("trainable parameters (log scale)\nhead included")


def _time(axes: Axes, summary: dict[str, Any], arms: list[dict[str, Any]]) -> None:
    _bars(axes, summary, arms, "train_seconds", 1, "{:.1f}")
    for row, arm in enumerate(arms):
        axes.plot(
            arm["train_seconds_by_run"], [row + 0.38] * len(arm["train_seconds_by_run"]), "|", color=INK, markersize=5
        )
    axes.set_xlabel(f"seconds in optimiser steps\nmean of {_seeds(arms)} (ticks)")


def _memory(axes: Axes, summary: dict[str, Any], arms: list[dict[str, Any]]) -> None:
    _bars(axes, summary, arms, "peak_train_memory_bytes", 1e6, "{:,.0f}")
    kind = "allocated on the GPU" if arms[0]["memory_kind"] == "cuda_allocated" else "resident, libraries included"
    axes.set_xlabel(f"peak memory in training, MB\n{kind}")


CHARTS: dict[str, Callable[[Axes, dict[str, Any], list[dict[str, Any]]], None]] = {
    "accuracy": _accuracy,
    "trainable_parameters": _trainable,
    "training_time": _time,
    "peak_memory": _memory,
}


def _bars(axes: Axes, summary: dict[str, Any], arms: list[dict[str, Any]], field: str, unit: float, text: str) -> None:
    colours = arm_colours(summary)
    values = [arm[field] / unit for arm in arms]
    bars = axes.barh(range(len(arms)), values, color=[colours[arm["arm"]] for arm in arms], height=0.62)
    axes.bar_label(bars, [text.format(value) for value in values], padding=6, fontsize=8)
    axes.margins(x=0.16)


def _seeds(arms: list[dict[str, Any]]) -> str:
    runs = max(arm["runs"] for arm in arms)
    return f"{runs} seed{'s' if runs > 1 else ''}"
