"""Writing a study's `summary.json`, `report.md`, `report.html` and charts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.files import write_json, write_text
from tuneoff.report import audit, evidence, trials, words
from tuneoff.report.charts import draw_charts

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults

CHART_TITLES = {
    "accuracy": "Test accuracy",
    "trainable_parameters": "Trainable parameters",
    "training_time": "Training time",
    "peak_memory": "Peak training memory",
}


def write_report(results: StudyResults) -> list[Path]:
    """Writes all report files into the study's folder, each atomically.

    Returns:
        What was written: the page, the Markdown, the summary, the charts' folder.
    """
    import jinja2
    import markupsafe

    folder = results.folder
    summary = results.summary
    write_json(folder / "summary.json", summary)
    charts = draw_charts(summary, folder / "charts")
    shared: dict[str, Any] = {
        "summary": summary,
        "environment": results.environment,
        "command": f"tuneoff run {folder / 'study.toml'} --out {folder}",
        "words": words,
        "audit": audit,
        "evidence": evidence,
        "trials": trials,
        "titles": CHART_TITLES,
        "charts": list(charts),
    }
    loader = jinja2.PackageLoader("tuneoff.report")
    plain = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    escaping = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    drawings = {name: markupsafe.Markup(_inline(path.read_text(encoding="utf-8"))) for name, path in charts.items()}
    write_text(folder / "report.md", plain.get_template("report.md").render(**shared))
    write_text(folder / "report.html", escaping.get_template("report.html").render(**shared, drawings=drawings))
    return [folder / "report.html", folder / "report.md", folder / "summary.json", folder / "charts"]


def _inline(svg: str) -> str:
    """The SVG element alone, without the XML prologue, which has no place inside HTML."""
    return svg[svg.index("<svg") :]
