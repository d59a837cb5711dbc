"""Writing a study's `summary.json`, `report.md`, `report.html` and charts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.files import write_json, write_text
from tuneoff.report import audit, evidence, label_issues, trials, words
from tuneoff.report.page import write_page
from tuneoff.report.use import use

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


def write_report(results: StudyResults) -> list[Path]:
    """Writes the usual report files into the study's folder, each atomically.

    Returns:
        What was written: the page, the Markdown, the summary, the charts' folder.
    """
    folder = results.folder
    write_summary(results)
    return [write_page(results), write_markdown(results), folder / "summary.json", folder / "charts"]


def write_summary(results: StudyResults) -> None:
    """Writes `summary.json`, and `label-issues.csv` where there are any."""
    write_json(results.folder / "summary.json", results.summary.model_dump(mode="json"))
    label_issues.write_label_issues(results)


def write_markdown(results: StudyResults) -> Path:
    """Writes `report.md` and the charts that it shows."""
    from tuneoff.report.charts import kinds_of, save_charts
    from tuneoff.report.template import template

    folder = results.folder
    charts = save_charts(results, folder / "charts")
    text = template("report.md").render(
        summary=results.summary,
        issues=results.label_issues,
        environment=results.environment,
        command=words.repeating(folder),
        use=use(results),
        words=words,
        audit=audit,
        evidence=evidence,
        label_issues=label_issues,
        trials=trials,
        titles={name: kind.title for name, kind in kinds_of(results.summary).items()},
        charts=list(charts),
    )
    write_text(folder / "report.md", text)
    return folder / "report.md"
