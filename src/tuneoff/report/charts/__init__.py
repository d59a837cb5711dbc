"""The charts of a study: each defined once, for the page, for files and for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import altair as alt

from tuneoff.analysis.wording import by_metric
from tuneoff.core.files import replacing
from tuneoff.data.parts import is_fold, part_names
from tuneoff.records.run import ScoredRun
from tuneoff.records.summary import Summary
from tuneoff.report.charts import arms, confusions, curves, differences, memory, reliability, tradeoffs
from tuneoff.report.charts.style import FILE_WIDTH, Runs, Spec, styled
from tuneoff.report.memory_parts import about_parts

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults

Draw = Callable[[Summary, Runs], alt.LayerChart | None]


@dataclass(frozen=True)
class ChartKind:
    """A chart that a study may have.

    Attributes:
        title: above it.
        draw: makes it from the summary and the runs that count; None where there is nothing to show.
        caption: what a reader must know, where title and axes do not say it.
    """

    title: str
    draw: Draw
    caption: str = ""


FRONT = "Filled: it learned, and no other arm costs as little and is shown to be more accurate. Small marks are runs."
HOLLOW = "Hollow: the arm did not learn."
UNMERGED = "Adapters ran beside the weights, unmerged; they are not on the front beside arms without one."
RANGE = "Mean over an arm's runs, and the range from the lowest to the highest."
CHARTS: dict[str, ChartKind] = {
    "accuracy_by_time": ChartKind("Accuracy against training time", tradeoffs.by_time, FRONT),
    "accuracy_by_memory": ChartKind("Accuracy against memory", tradeoffs.by_memory, FRONT),
    "accuracy_by_parameters": ChartKind("Accuracy against trainable parameters", tradeoffs.by_parameters, FRONT),
    "accuracy_by_latency": ChartKind(
        "Accuracy against the time of a prediction", tradeoffs.by_latency, f"{FRONT} {UNMERGED}"
    ),
    "accuracy": ChartKind("Test accuracy", arms.accuracy, HOLLOW),
    "trainable_parameters": ChartKind("Trainable parameters", arms.trainable_parameters),
    "training_time": ChartKind("Training time", arms.training_time),
    "peak_memory": ChartKind("Peak training memory", arms.peak_memory),
    "confusion_matrix": ChartKind("Which classes are taken for which", confusions.confusion_matrix),
    "reliability": ChartKind(
        "What arms say, and what is so", reliability.reliability, "On the dotted line predictions are what they say."
    ),
    "validation_accuracy_by_epoch": ChartKind(
        "Validation accuracy by epoch", curves.validation_accuracy_by_epoch, RANGE
    ),
    "validation_loss_by_epoch": ChartKind("Validation loss by epoch", curves.validation_loss_by_epoch, RANGE),
    "train_loss_by_epoch": ChartKind("Training loss by epoch", curves.train_loss_by_epoch, RANGE),
    "accuracy_by_train_size": ChartKind(
        "Accuracy by training examples",
        curves.accuracy_by_train_size,
        "With 95% intervals; dotted: baselines and, hollow, forecasts.",
    ),
    "memory_parts": ChartKind("What memory in training is for", memory.memory_parts),
    "memory_breakdown": ChartKind("Memory in training and evaluation", memory.memory_breakdown),
    "checkpoint": ChartKind("Checkpoint", memory.checkpoint),
    "tuning": ChartKind("Learning rates tried", curves.tuning),
    "differences": ChartKind("Differences between arms", differences.differences, "Filled: shown to differ."),
}


def kinds_of(summary: Summary) -> dict[str, ChartKind]:
    """The charts as they are called in a study that goes by this summary's metric, and what they say of its arms."""
    kinds = {
        name: replace(
            kind, title=by_metric(kind.title, summary.metric), caption=by_metric(kind.caption, summary.metric)
        )
        for name, kind in CHARTS.items()
    }
    return kinds | {"memory_parts": replace(kinds["memory_parts"], caption=about_parts(summary))}


@lru_cache(maxsize=1)
def draw_charts(results: StudyResults) -> Mapping[str, alt.LayerChart]:
    """Every chart that the study has something to show in, by its name in `CHARTS`; without style and width.

    A page and its files show the same charts: those of the last results are kept.
    """
    runs = counted_runs(results)
    drawn = {name: kind.draw(results.summary, runs) for name, kind in CHARTS.items()}
    return {name: chart for name, chart in drawn.items() if chart is not None}


def counted_runs(results: StudyResults) -> Runs:
    """The results of runs that the summary's arms stand on: those that succeeded, of all folds or the largest size."""
    first = part_names(results.spec.data)[0]
    arms = {arm.arm for arm in results.summary.scored_arms}
    scored = [run for run in results.runs if isinstance(run, ScoredRun) and run.arm in arms]
    return [run for run in scored if is_fold(first) or run.part == first]


@lru_cache(maxsize=1)
def page_charts(results: StudyResults) -> Mapping[str, Spec]:
    """The charts as Vega-Lite, as wide as the element that they are put into; kept likewise."""
    return {name: styled(chart, "container").to_dict(validate=False) for name, chart in draw_charts(results).items()}


def save_charts(results: StudyResults, folder: Path) -> dict[str, Path]:
    """Writes `<name>.svg` and `<name>.png` for each chart into `folder`, titled, on white.

    Returns:
        The SVG files by chart name; empty where no arm has results.
    """
    import vl_convert

    written = {}
    for name, spec in page_charts(results).items():
        titled = {**spec, "title": kinds_of(results.summary)[name].title, "width": FILE_WIDTH, "background": "white"}
        svg = vl_convert.vegalite_to_svg(titled)
        written[name] = folder / f"{name}.svg"
        with replacing(written[name]) as temporary:
            temporary.write_text(svg, encoding="utf-8")
        with replacing(folder / f"{name}.png") as temporary:
            temporary.write_bytes(vl_convert.svg_to_png(svg, scale=3))
    return written
