"""A study's results as notebooks show them: the verdict with the table, and charts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.report import words
from tuneoff.report.use import use

if TYPE_CHECKING:
    import altair as alt

    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.summary import Summary

PARETO = {
    "time": "accuracy_by_time",
    "memory": "accuracy_by_memory",
    "parameters": "accuracy_by_parameters",
    "latency": "accuracy_by_latency",
}
"""The chart of accuracy against each cost."""


def results_html(summary: Summary) -> str:
    """The verdict, what was trained on what, and the result table, as HTML in which no text of the data acts."""
    head = _line("th", words.headings(summary))
    body = "".join(_line("td", row) for row in words.rows(summary))
    return (
        f"<p><strong>{escape(words.verdict(summary))}</strong></p>"
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
        + "".join(f"<p>{escape(line)}</p>" for line in words.below_table(summary))
        + f"<p>{escape(words.conditions(summary))}</p>"
    )


def use_html(results: StudyResults) -> str:
    """What predicts with the winner, as HTML; empty where there is no model to use."""
    found = use(results)
    if found.arm is None:
        return ""
    return f"<p>{escape(found.sentence)}</p><pre><code>{escape(found.python)}</code></pre>"


def _line(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


class Plots:
    """The charts of a study, as Altair charts: a notebook shows what the last line of a cell returns."""

    def __init__(self, results: StudyResults) -> None:
        self._results = results

    def accuracy(self) -> alt.LayerChart:
        """Mean test accuracy of each arm with its interval, every seed, and the baselines."""
        return self.chart("accuracy")

    def pareto(self, cost: str = "memory") -> alt.LayerChart:
        """Test accuracy against a cost, with the arms on the Pareto front filled.

        Args:
            cost: `time`, `memory`, `parameters` or `latency`.

        Raises:
            UserError: where it is none of these, or was not measured.
        """
        if cost not in PARETO:
            raise UserError(f"plot.pareto('{cost}'): there is no such cost; there are {', '.join(PARETO)}")
        return self.chart(PARETO[cost])

    def training_time(self) -> alt.LayerChart:
        """Seconds in optimiser steps by arm."""
        return self.chart("training_time")

    def peak_memory(self) -> alt.LayerChart:
        """Peak memory in training by arm."""
        return self.chart("peak_memory")

    def trainable_parameters(self) -> alt.LayerChart:
        """Trainable parameters by arm, head included."""
        return self.chart("trainable_parameters")

    def learning_curves(self) -> alt.LayerChart:
        """Test accuracy by training examples where the study has `train_sizes`, else validation accuracy by epoch.

        Raises:
            UserError: where there is a single size or epoch, which is no curve.
        """
        by_size = self._results.spec.data.train_sizes is not None
        return self.chart("accuracy_by_train_size" if by_size else "validation_accuracy_by_epoch")

    def chart(self, name: str) -> alt.LayerChart:
        """One chart by its name, as the files in the study's folder `charts` are named.

        Raises:
            UserError: where there is no such chart, or the study has nothing to show in it.
        """
        from tuneoff.report.charts import draw_charts, kinds_of
        from tuneoff.report.charts.style import FILE_WIDTH, styled

        drawn = draw_charts(self._results)
        if name not in drawn:
            raise UserError(f"{self._results.folder} has no chart '{name}'; it has {', '.join(drawn) or 'none yet'}")
        return styled(drawn[name].properties(title=kinds_of(self._results.summary)[name].title), FILE_WIDTH)
