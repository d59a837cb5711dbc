"""A study's page: one HTML file with its charts, which needs nothing else."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from tuneoff.analysis.disagreements import find_disagreements
from tuneoff.analysis.learning import LEARNED, run_state
from tuneoff.analysis.results import StudyResults
from tuneoff.core.errors import one_line
from tuneoff.core.files import cache_folder, write_text
from tuneoff.data.parts import WHOLE, part_words
from tuneoff.records.run import ScoredRun
from tuneoff.report import audit, evidence, label_issues, memory_parts, memory_words, trials, words
from tuneoff.report.use import use
from tuneoff.study.listener import Silent

if TYPE_CHECKING:
    from markupsafe import Markup

    from tuneoff.records.run import RunResult
    from tuneoff.runs.run import Run
    from tuneoff.study.ahead import Ahead

UNITS = {
    **{"": 1.0, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "MB": 1e6, "GB": 1e9},
    **{"J": 1.0, "kJ": 1e3, "MJ": 1e6, "mg": 1e-3, "g": 1.0, "kg": 1e3},
}
QUANTITY = re.compile(rf"([+-]?[\d,]+(?:\.\d+)?)(?: ({'|'.join(filter(None, UNITS))})\b)?")
RUN_HEADINGS = ("arm", "seed", "learning rate", "test accuracy", "validation", "train time", "peak memory", "run")

QUIET = 20
"""So many times as long as the page took to write it is left alone while a study goes on: a twentieth of the time."""

Cell = tuple[str, float | None]
"""What a cell of a table says, and what it is sorted by; None comes last."""


def write_page(results: StudyResults) -> Path:
    """Writes `report.html` into the study's folder, atomically, whether the study is finished or not.

    Returns:
        The page.
    """
    from tuneoff.report.charts import kinds_of, page_charts
    from tuneoff.report.charts.style import arm_colours
    from tuneoff.report.template import template

    summary = results.summary
    html = template("page.html").render(
        summary=summary,
        verdict=words.verdict(summary).partition(". "),
        chosen=next((arm for arm in summary.scored_arms if arm.arm == summary.recommendation.arm), None),
        table=[[(name, None), *((text, sort_value(text)) for text in row)] for name, *row in words.rows(summary)],
        colours=arm_colours(summary),
        charts=page_charts(results),
        kinds=kinds_of(results.summary),
        run_headings=RUN_HEADINGS,
        runs=[_run(results, run) for run in results.runs],
        issues=label_issues.shown(results.label_issues),
        disagreements=find_disagreements(results),
        environment=results.environment,
        study_file=(results.folder / "study.toml").read_text(encoding="utf-8"),
        command=words.repeating(results.folder),
        use=use(results),
        words=words,
        evidence=evidence,
        memory_parts=memory_parts,
        memory_words=memory_words,
        label_issues=label_issues,
        trials=trials,
        audit=audit,
        vega=_vega(),
        script=_asset("page.js"),
        style=_asset("page.css"),
    )
    path = results.folder / "report.html"
    write_text(path, html)
    return path


class PageKeeper(Silent):
    """A listener that keeps a study's page up to date while its runs go on. It can fail neither a run nor the study.

    A page takes a processor core for a second or some. No run that computes on processors is timed beside it; those on
    GPUs need not wait for it.

    Args:
        folder: the study's.
        say: told in one line where the page cannot be written; it is then left alone until the study has ended.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._quiet_until = 0.0
        self._left = 0
        self._writing: Thread | None = None

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        self._left = runs - done

    def run_finished(self, run: Run, result: RunResult) -> None:
        """Writes the page from the results stored by now, unless that was done a moment ago: it takes a second.

        After the last run it is left to the end of the study, which comes at once.
        """
        self._left -= 1
        busy = self._writing is not None and self._writing.is_alive()
        if run.trial or not self._left or busy or time.monotonic() < self._quiet_until:
            return
        if result.conditions is None or result.conditions.device_type == "cpu":
            self._write()
        else:
            self._writing = Thread(target=self._write)
            self._writing.start()

    def wait(self) -> None:
        """Waits until nothing is being written; to be called when nothing more will be told."""
        if self._writing is not None:
            self._writing.join()

    def _write(self) -> None:
        begun = time.monotonic()
        try:
            write_page(StudyResults.read(self._folder))
        except Exception as error:  # of whatever kind: the study matters more, and its end writes the page again
            self._quiet_until = math.inf
            self._say(f"report.html is not kept up to date: {type(error).__name__}: {one_line(error)}")
            return
        ended = time.monotonic()
        self._quiet_until = ended + QUIET * (ended - begun)


def sort_value(text: str) -> float | None:
    """What a table's cell is sorted by: the quantity it begins with (`2 min 05 s` is 125), or None where it has none.

    An interval (`76.7 to 88.5`) is sorted by its lower end.
    """
    total, end = None, 0
    while found := QUANTITY.match(text, end):
        if total is not None and found[2] is None:
            break
        total = (total or 0.0) + float(found[1].replace(",", "")) * UNITS[found[2] or ""]
        end = found.end() + 1
        if found[2] is None:
            break
    return total


def _run(results: StudyResults, run: RunResult) -> list[Cell]:
    arm = run.arm if run.part == WHOLE else f"{run.arm}, {part_words(run.part)}"
    rate = run.learning_rate
    begins: list[Cell] = [(arm, None), (str(run.seed), run.seed), (f"{rate:g}", rate)]
    if not isinstance(run, ScoredRun):
        return [*begins, (run.status, None), *[("", None)] * 3, (run.run_id, None)]
    memory, metric = run.peak_memory_bytes.train, results.objective.label
    mark = "" if run_state(results, run) == LEARNED else words.DID_NOT_LEARN
    return [
        *begins,
        (words.score(run.score, metric) + mark, run.score),
        (words.score(run.selected.score, metric), run.selected.score),
        (words.duration(run.train_seconds), run.train_seconds),
        (words.megabytes(memory), memory),
        (run.run_id, None),
    ]


@cache
def _vega() -> Markup:
    """Vega, Vega-Lite and Vega-Embed as one script. It takes two seconds to make, so it is kept in the cache."""
    import markupsafe
    import vl_convert

    kept = cache_folder() / "vega" / f"{metadata.version('vl-convert-python')}.js"
    try:
        script = kept.read_text(encoding="utf-8")
    except (OSError, ValueError):
        script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        with suppress(OSError):  # a page can be written without
            write_text(kept, script)
    assert "</script" not in script
    assert "<!--" not in script
    return markupsafe.Markup(script)


def _asset(name: str) -> Markup:
    """A file that the page contains as it is."""
    import markupsafe

    return markupsafe.Markup((resources.files("tuneoff.report") / "templates" / name).read_text(encoding="utf-8"))
