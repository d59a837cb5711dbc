"""The result table for other programs: `report.csv` with raw numbers, `report.tex` for a paper."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.files import replacing, write_text
from tuneoff.records.arm_summary import ScoredArm
from tuneoff.report import evidence, words

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.arm_summary import ArmSummary
    from tuneoff.records.summary import BaselineSummary, Breakdown, Summary

CsvRow = dict[str, str | float | None]
"""By column."""

ARM_FIELDS = (
    "method", "learning_rate", "runs", "test_macro_f1", "validation_accuracy", "expected_calibration_error",
    "calibrated_error", "brier_score", "train_seconds", "times_shared", "train_examples_per_second",
    "setup_seconds", "eval_seconds", "device_seconds", "energy_joules", "inference_latency_seconds",
    "adapter_unmerged", "inference_latency_p95_seconds", "inference_texts_per_second",
    "peak_train_memory_bytes", "peak_eval_memory_bytes", "peak_reserved_memory_bytes", "memory_kind",
    "trainable_parameters", "checkpoint_bytes", "precision", "device",
)  # fmt: skip
"""Fields of the summary's arms that `report.csv` has columns of the same name for."""
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "†": r"\textdagger{}",
    "[": "{[}",  # which would otherwise be an argument of the line break before it
    "*": "{*}",
    **{character: f"\\{character}" for character in "{}#$%&_"},
}


def write_csv(results: StudyResults) -> Path:
    """Writes `report.csv`: one row an arm, then one a baseline; shares from 0 to 1, units in the names of columns."""
    summary = results.summary
    rows = [*(_arm(arm, summary.breakdown) for arm in summary.arms), *map(_baseline, summary.baselines)]
    path = results.folder / "report.csv"
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, dict.fromkeys(name for row in rows for name in row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _arm(arm: ArmSummary, breakdown: Breakdown | None) -> CsvRow:
    interval = arm.test_accuracy if isinstance(arm, ScoredArm) else None
    score = arm.test_score if isinstance(arm, ScoredArm) else None
    by_class = arm.by_class if isinstance(arm, ScoredArm) else None
    classes = {} if by_class is None else by_class.classes
    row: CsvRow = {
        "kind": "arm",
        "name": arm.arm,
        "failed_runs": len(arm.failed),
        "test_score": score.mean if score is not None else None,
        "test_score_ci_low": score.ci_low if score is not None else None,
        "test_score_ci_high": score.ci_high if score is not None else None,
        "test_accuracy": interval.mean if interval is not None else None,
        "test_accuracy_ci_low": interval.ci_low if interval is not None else None,
        "test_accuracy_ci_high": interval.ci_high if interval is not None else None,
        **{field: getattr(arm, field, None) for field in ARM_FIELDS},
        "balanced_accuracy": None if by_class is None else by_class.balanced_accuracy,
        "mcc": None if by_class is None else by_class.mcc,
        **(arm.test_metrics if isinstance(arm, ScoredArm) else {}),
        **{
            f"{score}[{label}]": getattr(scores, score)
            for score in ("precision", "recall", "f1")
            for label, scores in classes.items()
        },
    }
    if breakdown is not None:
        for group in breakdown.groups:
            row[f"test_score[{breakdown.column}={group.value}]"] = group.test_score.get(arm.arm)
    return row


def _baseline(baseline: BaselineSummary) -> CsvRow:
    return {
        "kind": "baseline",
        "name": baseline.label,
        "test_score": baseline.test_score,
        "test_accuracy": baseline.test_accuracy,
    }


def write_latex(results: StudyResults) -> Path:
    """Writes `report.tex`: tables to be put into a paper with `\\input`, which needs the package booktabs."""
    summary = results.summary
    paragraphs = ["% \\usepackage{booktabs} and \\usepackage[T1]{fontenc} are needed.", "% " + _one_line(summary.study)]
    paragraphs.append(tabular(words.headings(summary), words.rows(summary)))
    paragraphs += [f"% {_one_line(line)}" for line in words.below_table(summary)]
    if summary.scored_arms:
        paragraphs.append(tabular(evidence.quality_headings(summary), evidence.quality_rows(summary)))
    if rows := evidence.class_rows(summary):
        paragraphs.append(tabular(evidence.class_headings(summary), rows))
    if summary.breakdown is not None:
        breakdown = summary.breakdown
        paragraphs.append(tabular(breakdown_headings(summary, breakdown), breakdown_rows(summary, breakdown)))
    path = results.folder / "report.tex"
    write_text(path, "\n\n".join(paragraphs) + "\n")
    return path


def breakdown_headings(summary: Summary, breakdown: Breakdown) -> tuple[str, ...]:
    """The headings of `breakdown_rows`: the column, the number of examples, the arms that have results."""
    return (breakdown.column, "examples", *map(words.marked, summary.scored_arms))


def breakdown_rows(summary: Summary, breakdown: Breakdown) -> list[tuple[str, ...]]:
    """The objective of each arm for each value of the breakdown column, as text."""
    return [
        (
            group.value,
            f"{group.test_examples:,}",
            *(words.score(group.test_score[arm.arm], summary.metric) for arm in summary.scored_arms),
        )
        for group in breakdown.groups
    ]


def tabular(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX table with booktabs' rules, the first column to the left and all others to the right.

    Args:
        headings: of the columns, as plain text.
        rows: cells as plain text, which is escaped here.
    """
    lines = [_line(headings), r"\midrule", *map(_line, rows)]
    columns = "l" + "r" * (len(headings) - 1)
    return "\n".join([f"\\begin{{tabular}}{{{columns}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    """A text on one line in which nothing acts as LaTeX."""
    return "".join(LATEX.get(character, character) for character in _one_line(text)).replace("--", "-{}-")


def _one_line(text: str) -> str:
    return " ".join(text.split())
