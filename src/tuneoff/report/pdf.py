"""`report.pdf`: a technical report of a few pages, set by typst."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from tuneoff.analysis.wording import by_metric
from tuneoff.core.files import replacing
from tuneoff.report import audit, evidence, label_issues, trials, words
from tuneoff.report.tables import breakdown_headings, breakdown_rows
from tuneoff.report.use import use
from tuneoff.spec.arms import METHODS

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.summary import Summary

Block = dict[str, object]
Inline = str | dict[str, str | int]
"""A piece of a sentence: a text, `{"see": name}` (a table or a chart) or `{"cite": number}` (a reference)."""


class Section(TypedDict):
    """A section as the template sets it."""

    title: str
    blocks: list[Block]


class Content(TypedDict):
    """What the template sets, as plain JSON."""

    title: str
    verdict: str
    conditions: str
    sections: list[Section]


class DrawnChart(TypedDict):
    """A chart as the template sets it."""

    name: str
    title: str
    caption: str
    svg: str


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

CURVE = "accuracy_by_train_size"
STATISTICS = {
    "intervals": "Behrens 1929, Fisher 1935: intervals over seeds and test examples; Wilson 1927: with one seed",
    "pairs": "Bonett and Price 2012: paired differences; Smyth 2004: spread of seeds; Shaffer 1986, Holm 1979: p",
    "quality": "Guo et al. 2017: calibration error; Brier 1950: Brier score",
}
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


def report_content(results: StudyResults) -> Content:
    """What the template sets.

    A block is `{"text"}`, `{"code"}`, `{"items"}` (a list), `{"references"}` (a numbered one), `{"name", "caption",
    "headings", "rows", "prose"}` (a table; with `prose` its last column holds sentences), `{"charts"}` (`name`,
    `title`, `caption`, `svg`) or `{"small"}` (paragraphs of little weight). `text` and each of `items` are lists of
    `Inline`.
    """
    summary = results.summary
    drawn = _charts(results)
    cited = _Citations(results)
    sections: list[tuple[str, list[Block]]] = [
        ("Result", _result(summary, drawn, cited)),
        ("Charts", [{"charts": drawn}] if drawn else []),
        ("Against the baselines", _list(headline.sentence for headline in summary.headlines)),
        ("Pairs of arms", _pairs(summary, drawn, cited)),
        ("What this study cannot show", _list(summary.notes)),
        ("Not recommended", _list(words.excluded(summary))),
        ("Arms that no other is shown to beat, by cost", _list(evidence.fronts(summary))),
        ("Classes and calibration", _quality(summary, cited)),
        (by_metric("Test accuracy by training examples", summary.metric), _sizes(summary, drawn)),
        *_breakdown(summary),
        ("Tuning", _tuning(summary)),
        ("Failed runs", _list(words.failures(summary))),
        ("Data", _data(summary)),
        ("Labels to check", _labels(results)),
        ("Methods", _methods(results, cited)),
        ("Use it", _use(results)),
        ("How to repeat it", _environment(results)),
        ("References", [{"references": cited.references}]),
    ]
    return {
        "title": summary.study,
        "verdict": words.verdict(summary),
        "conditions": words.conditions(summary),
        "sections": [{"title": title, "blocks": blocks} for title, blocks in sections if blocks],
    }


class _Citations:
    """The references of a study, each once: those of its methods in the order of the arms, then those of statistics."""

    def __init__(self, results: StudyResults) -> None:
        methods = dict.fromkeys(METHODS.classes()[arm.method].reference for arm in results.spec.arms)
        self.references = [*methods, *STATISTICS.values()]

    def __call__(self, reference: str) -> Inline:
        """A reference, or a key of `STATISTICS`, as a piece of a sentence."""
        return {"cite": self.references.index(STATISTICS.get(reference, reference)) + 1}


def _result(summary: Summary, drawn: list[DrawnChart], cited: _Citations) -> list[Block]:
    shown: list[Inline] = [{"see": "result"}, f" holds {summary.metric} and costs of all arms and baselines"]
    if drawn:
        ends: list[Inline] = [{"see": drawn[0]["name"]}, " to ", {"see": drawn[-1]["name"]}] if len(drawn) > 1 else []
        shown += ["; ", *(ends or [{"see": drawn[0]["name"]}]), " show them"]
    table = _table("result", "Arms and baselines on the test split.", words.headings(summary), words.rows(summary))
    marks = [_text(line) for line in words.below_table(summary)]
    return [table, *marks, _text(*shown, f". {evidence.INTERVALS} ", cited("intervals"), f" {RULES}")]


def _charts(results: StudyResults) -> list[DrawnChart]:
    import vl_convert

    from tuneoff.report.charts import draw_charts, kinds_of
    from tuneoff.report.charts.style import FILE_WIDTH, styled

    drawn, kinds = draw_charts(results), kinds_of(results.summary)
    return [
        {
            "name": name,
            "title": kinds[name].title,
            "caption": kinds[name].caption,
            "svg": vl_convert.vegalite_to_svg(styled(drawn[name], FILE_WIDTH).to_dict()),
        }
        for name in SHOWN
        if name in drawn
    ]


def _pairs(summary: Summary, drawn: list[DrawnChart], cited: _Citations) -> list[Block]:
    if not summary.comparisons:
        return []
    chart: list[Inline] = (
        [" and ", {"see": "differences"}] if any(entry["name"] == "differences" for entry in drawn) else []
    )
    rows = evidence.pair_rows(summary)
    if not rows:
        return _list(evidence.pairs(summary))
    shown: list[Inline] = [cited("pairs"), "; see ", {"see": "pairs"}, *chart, "."]
    return [
        _text(f"Differences in test {summary.metric} are paired by seed and test example ", *shown),
        *_list(evidence.pairs(summary)),
        _table("pairs", "Differences between arms.", evidence.PAIR_HEADINGS, rows),
    ]


def _quality(summary: Summary, cited: _Citations) -> list[Block]:
    rows = evidence.quality_rows(summary)
    if not rows:
        return []
    blocks = [
        _text({"see": "quality"}, " holds other measures, of probabilities those of ", cited("quality"), "."),
        _table("quality", "Other measures, and the time of a text.", evidence.quality_headings(summary), rows),
    ]
    if classes := evidence.class_rows(summary):
        blocks += [
            _text({"see": "classes"}, " holds the scores of each class."),
            _table("classes", "Scores of each class.", evidence.class_headings(summary), classes),
        ]
    return blocks


def _sizes(summary: Summary, drawn: list[DrawnChart]) -> list[Block]:
    if summary.learning_curves is None:
        return []
    chart: list[Inline] = [" and ", {"see": CURVE}] if any(entry["name"] == CURVE for entry in drawn) else []
    return [
        _text(
            by_metric("Test accuracy", summary.metric) + " with fewer training examples: see ",
            {"see": "sizes"},
            *chart,
            ".",
        ),
        _table(
            "sizes",
            by_metric("Test accuracy by number of training examples.", summary.metric),
            evidence.curve_headings(summary),
            evidence.curve_rows(summary),
        ),
        *_list(evidence.forecasts(summary)),
        _text(evidence.FORECAST),
    ]


def _breakdown(summary: Summary) -> list[tuple[str, list[Block]]]:
    breakdown = summary.breakdown
    if breakdown is None:
        return []
    name = by_metric("Test accuracy", summary.metric) + f" by {breakdown.column}"
    headings, rows = breakdown_headings(summary, breakdown), breakdown_rows(summary, breakdown)
    table = _table("breakdown", f"{name}.", headings, rows)
    return [(name, [_text({"see": "breakdown"}, " holds it for each group of test examples."), table])]


def _tuning(summary: Summary) -> list[Block]:
    if summary.tuning is None or not (rows := trials.rows(summary.tuning, summary.metric)):
        return []
    sentences = " ".join(trials.sentences(summary.tuning, summary.metric))
    return [
        _text(f"{sentences} ", {"see": "trials"}, " holds all trials."),
        _table("trials", "Learning rates that were tried.", trials.headings(summary.metric), rows),
    ]


def _data(summary: Summary) -> list[Block]:
    told, for_information = audit.without_information(summary.audit)
    rows = [(*row[:4], f"{row[4]} {row[5]}") for row in audit.rows(told)]
    headings = (*audit.HEADINGS[:4], "what it means and what to do")
    table = [_table("audit", "What the audit found in the data.", headings, rows, prose=True)] if rows else []
    classes = f"Classes: {', '.join(summary.data.label_names)}."
    known = [f"For information: {row[1]} ({row[2]}): {row[4]}" for row in audit.rows(for_information)]
    see: list[Inline] = [" See ", {"see": "audit"}, "."] if table else []
    small: list[Block] = [{"small": known}] if known else []
    return [
        _text(f"{classes} The audit: {audit.counted(summary.audit)}", *see),
        *_list(audit.left_out(summary.data.removed)),
        *table,
        *small,
    ]


def _labels(results: StudyResults) -> list[Block]:
    if not results.label_issues:
        return []
    said = f"{label_issues.sentence(results.summary)} {label_issues.CAVEAT}"
    return [_text(said), *_list(label_issues.lines(results.label_issues))]


def _methods(results: StudyResults, cited: _Citations) -> list[Block]:
    described = {name: method.describe() for name, method in METHODS.classes().items()}
    items: list[list[Inline]] = []
    for arm in results.spec.arms:
        method = described[arm.method]
        name = arm.name if arm.name == arm.method else f"{arm.name} ({arm.method})"
        given = {option.name: getattr(arm, option.name) for option in method.options}
        options = ", ".join(f"{option} = {_value(value)}" for option, value in given.items() if value not in ((), None))
        end = f"{'; ' if options else ''}{options}."
        items.append([f"{name}: {method.summary} ", cited(method.reference), end])
    return [{"items": items}]


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _environment(results: StudyResults) -> list[Block]:
    environment = results.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    machine = f"{environment.processor}, {environment.cores} cores, {environment.platform}"
    return [{"code": words.repeating(results.folder)}, _text(f"{versions}; {machine}.")]


def _use(results: StudyResults) -> list[Block]:
    found = use(results)
    if found.arm is None:
        return [_text(found.sentence)] if found.sentence else []
    return [
        _text(found.sentence),
        {"code": found.loading},
        _text("In a shell:"),
        {"code": "\n".join(found.commands)},
    ]


def _text(*pieces: Inline) -> Block:
    return {"text": list(pieces)}


def _list(items: Iterable[str]) -> list[Block]:
    """A list as the blocks of a section: none where there is nothing in it."""
    return [{"items": found}] if (found := [[item] for item in items]) else []


def _table(
    name: str, caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], prose: bool = False
) -> Block:
    return {
        "name": name,
        "caption": caption,
        "headings": list(headings),
        "rows": [list(row) for row in rows],
        "prose": prose,
    }
