"""`report.pdf`: a technical report of a few pages, set by typst."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.files import replacing
from tuneoff.methods import registry
from tuneoff.report import audit, evidence, trials, words
from tuneoff.report.tables import breakdown_headings, breakdown_rows

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults

Block = dict[str, Any]
Section = tuple[str, list[Block]]

SHOWN = (
    "accuracy", "trainable_parameters", "training_time", "peak_memory", "accuracy_by_memory", "accuracy_by_time",
    "accuracy_by_parameters", "validation_accuracy_by_epoch", "accuracy_by_train_size", "tuning", "differences",
)  # fmt: skip
"""Those of a study's charts that the report shows, two beside each other."""
RULES = (
    "For one seed every arm sees the same splits, the same order of examples and the same initial head. Every run has "
    "a fresh process. The test split is read once a run, at the end; nothing is chosen on it. Training time holds "
    "optimiser steps only: no loading, no evaluation, no checkpoints. Peak memory is that of training; on a CPU it is "
    "the resident memory of the run's process, libraries included. 1 MB is 1,000,000 bytes."
)

STATISTICS = (
    "Behrens 1929, Fisher 1935: intervals over seeds and test examples together; Wilson 1927: with one seed",
    "Bonett and Price 2012: paired differences; Smyth 2004: spread of seeds; Shaffer 1986, Holm 1979: p corrected",
    "Guo et al. 2017: calibration error; Brier 1950: Brier score",
)
"""The sources of the numbers; docs/statistics.md says how they are used."""


def write_pdf(results: StudyResults) -> Path:
    """Writes `report.pdf`, the same bytes for the same results on the same machine; needs the package typst.

    The template reads all texts as data, so that none of them can act as typst's code. Its fonts come with typst; those
    of the system only help out with scripts that typst's own fonts lack.
    """
    import typst

    template = resources.files("tuneoff.report").joinpath("templates", "report.typ").read_bytes()
    document = typst.compile(template, format="pdf", sys_inputs={"report": json.dumps(report_content(results))})
    path = results.folder / "report.pdf"
    with replacing(path) as temporary:
        temporary.write_bytes(document)
    return path


def report_content(results: StudyResults) -> dict[str, Any]:
    """What the template sets: `title`, `verdict`, `conditions` and `sections` (`title`, `blocks`), as plain JSON.

    A block is `{"text"}`, `{"code"}`, `{"items"}` (a list), `{"references"}` (a numbered one), `{"headings", "rows",
    "prose"}` (a table; with `prose` its last column holds sentences) or `{"charts"}` (`title`, `caption`, `svg`).
    """
    summary = results.summary
    sections: list[Section] = [
        ("Result", [_table(words.HEADINGS, words.rows(summary)), _text(f"{evidence.INTERVALS} {RULES}")]),
        ("Charts", [{"charts": drawn}] if (drawn := _charts(results)) else []),
        ("Against the baselines", _list(line["sentence"] for line in summary["headlines"])),
        ("Pairs of arms", _pairs(summary)),
        ("What this study cannot show", _list(summary["notes"])),
        ("Not recommended", _list(words.excluded(summary))),
        ("Arms that no other is shown to beat, by cost", _list(evidence.fronts(summary))),
        ("Classes and calibration", _quality(summary)),
        ("Test accuracy by training examples", _sizes(summary)),
        *_breakdown(summary),
        ("Tuning", _tuning(summary)),
        ("Failed runs", _list(words.failures(summary))),
        ("Data", _data(summary)),
        ("Methods", _methods(results)),
        ("How to repeat it", _environment(results)),
        ("References", [{"references": [*_references(results), *STATISTICS]}]),
    ]
    return {
        "title": summary["study"],
        "verdict": words.verdict(summary),
        "conditions": words.conditions(summary),
        "sections": [{"title": title, "blocks": blocks} for title, blocks in sections if blocks],
    }


def _charts(results: StudyResults) -> list[dict[str, str]]:
    import vl_convert

    from tuneoff.report.charts import CHARTS, draw_charts
    from tuneoff.report.charts.style import FILE_WIDTH, styled

    drawn = draw_charts(results)
    return [
        {
            "title": CHARTS[name].title,
            "caption": CHARTS[name].caption,
            "svg": vl_convert.vegalite_to_svg(styled(drawn[name], FILE_WIDTH).to_dict()),
        }
        for name in SHOWN
        if name in drawn
    ]


def _pairs(summary: dict[str, Any]) -> list[Block]:
    if not summary["comparisons"]:
        return []
    return [
        *_list(map(evidence.pair, summary["comparisons"])),
        _table(evidence.PAIR_HEADINGS, evidence.pair_rows(summary)),
    ]


def _quality(summary: dict[str, Any]) -> list[Block]:
    rows = evidence.quality_rows(summary)
    return [_table(evidence.quality_headings(summary), rows)] if rows else []


def _sizes(summary: dict[str, Any]) -> list[Block]:
    curves = summary["learning_curves"]
    if not curves:
        return []
    return [_table(("arm", *(f"{size:,}" for size in curves["train_sizes"])), evidence.curve_rows(summary))]


def _breakdown(summary: dict[str, Any]) -> list[Section]:
    if not summary["breakdown"]:
        return []
    table = _table(breakdown_headings(summary), breakdown_rows(summary))
    return [(f"Test accuracy by {summary['breakdown']['column']}", [table])]


def _tuning(summary: dict[str, Any]) -> list[Block]:
    if not summary["tuning"] or not (rows := trials.rows(summary)):
        return []
    return [_text(" ".join(trials.sentences(summary))), _table(trials.HEADINGS, rows)]


def _data(summary: dict[str, Any]) -> list[Block]:
    removed = [
        f"{count:,} repeated {name} texts were removed." for name, count in summary["data"]["removed"].items() if count
    ]
    rows = [(*row[:4], f"{row[4]} {row[5]}") for row in audit.rows(summary["audit"])]
    table = [_table((*audit.HEADINGS[:4], "what it means and what to do"), rows, prose=True)] if rows else []
    classes = f"Classes: {', '.join(summary['data']['label_names'])}."
    return [_text(f"{classes} The audit: {audit.counted(summary['audit'])}"), *_list(removed), *table]


def _methods(results: StudyResults) -> list[Block]:
    references = list(_references(results))
    described = {name: method.describe() for name, method in registry().items()}
    items = []
    for arm in results.spec.arms:
        method = described[arm.method]
        name = arm.name if arm.name == arm.method else f"{arm.name} ({arm.method})"
        given = {option["name"]: getattr(arm, option["name"]) for option in method["options"]}
        if results.summary["tuning"]:
            del given["learning_rate"]  # which is only where tuning began
        options = ", ".join(f"{option} = {_value(value)}" for option, value in given.items() if value not in ((), None))
        number = references.index(method["reference"]) + 1
        items.append(f"{name}: {method['summary']} [{number}]{'; ' if options else ''}{options}.")
    return _list(items)


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _references(results: StudyResults) -> dict[str, None]:
    """The sources of the study's methods, each once, in the order of the arms."""
    return dict.fromkeys(registry()[arm.method].reference for arm in results.spec.arms)


def _environment(results: StudyResults) -> list[Block]:
    environment = results.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    command = f"tuneoff run {results.folder / 'study.toml'} --out {results.folder}"
    machine = f"{environment['processor']}, {environment['cores']} cores, {environment['platform']}"
    return [{"code": command}, _text(f"{versions}; {machine}.")]


def _text(text: str) -> Block:
    return {"text": text}


def _list(items: Iterable[str]) -> list[Block]:
    """A list as the blocks of a section: none where there is nothing in it."""
    return [{"items": found}] if (found := list(items)) else []


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], prose: bool = False) -> Block:
    return {"headings": list(headings), "rows": [list(row) for row in rows], "prose": prose}
