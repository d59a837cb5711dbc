"""`report.ipynb`: a notebook in a study's folder that reads the study's results, to be executed by its reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.files import write_text
from tuneoff.report import audit
from tuneoff.report.use import use

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults

START = """\
import altair
import pandas as pd

import tuneoff
from tuneoff.report import evidence

_ = altair.renderers.enable("svg")  # charts that need no network; leave this line out for charts that answer the mouse
results = tuneoff.load_results(".")
results"""
PLOTS = {
    "accuracy_by_memory": 'results.plot.pareto("memory")',
    "accuracy_by_time": 'results.plot.pareto("time")',
    "accuracy": "results.plot.accuracy()",
    "training_time": "results.plot.training_time()",
    "peak_memory": "results.plot.peak_memory()",
    "trainable_parameters": "results.plot.trainable_parameters()",
    "validation_accuracy_by_epoch": 'results.plot.chart("validation_accuracy_by_epoch")',
    "accuracy_by_train_size": "results.plot.learning_curves()",
}
"""What draws a chart; those that the study has nothing to show in are left out."""
PAIRS = "pd.DataFrame(evidence.pair_rows(results.summary), columns=evidence.PAIR_HEADINGS)"


def write_notebook(results: StudyResults) -> Path:
    """Writes `report.ipynb` without outputs; it finds the study wherever the folder is moved to."""
    from nbformat import v4, validate, writes

    from tuneoff.report.charts import draw_charts

    drawn = draw_charts(results)
    cells = [
        _text(f"# {results.spec.name}\n\nThe results of a Tuneoff study, from the folder that this notebook lies in."),
        _code(START),
        _text("## Charts"),
        *(_code(plot) for name, plot in PLOTS.items() if name in drawn),
        _text("## Pairs of arms"),
        _code(PAIRS),
        _text("## Every run"),
        _code("results.to_pandas()"),
        *_use(results),
    ]
    for number, cell in enumerate(cells, start=1):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    validate(notebook)
    path = results.folder / "report.ipynb"
    write_text(path, writes(notebook) + "\n")
    return path


def _use(results: StudyResults) -> list[Any]:
    found = use(results)
    if found.arm is None:
        return [_text(f"## Use it\n\n{found.sentence}")] if found.sentence else []
    commands = "\n".join(found.commands)
    return [
        _text(
            f"## Use it\n\n{audit.plain(found.sentence)}\n\nWithout tuneoff:\n\n```python\n{found.loading}\n```\n\n"
            f"In a shell:\n\n```sh\n{commands}\n```"
        ),
        _code(found.python),
    ]


def _text(source: str) -> Any:
    from nbformat import v4

    return v4.new_markdown_cell(source)


def _code(source: str) -> Any:
    from nbformat import v4

    return v4.new_code_cell(source)
