"""What `import tuneoff` offers: running a study, and its results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.analysis import results as stored
from tuneoff.core import hub
from tuneoff.core.errors import UserError
from tuneoff.core.files import is_disk_trouble
from tuneoff.report.page import PageKeeper
from tuneoff.report.write import write_report, write_summary
from tuneoff.study.conductor import carry_out
from tuneoff.study.interruption import Interruption
from tuneoff.study.listener import Audience, Silent
from tuneoff.study.lock import locked
from tuneoff.study.pins import pin_to_commits
from tuneoff.study.search_optuna import check_installed
from tuneoff.study.store import STUDIES
from tuneoff.tracking import Trackers

if TYPE_CHECKING:
    from tuneoff.report.display import Plots
    from tuneoff.serving.predictor import Predictor
    from tuneoff.spec import StudySpec
    from tuneoff.study.listener import Listener


@dataclass(frozen=True, repr=False, eq=False)
class StudyResults(stored.StudyResults):
    """A study's results, which a notebook shows as a table, with its charts in `plot`, and whose models predict."""

    @property
    def plot(self) -> Plots:
        """Charts: `plot.accuracy()`, `plot.pareto("memory")` and so on, which a notebook shows."""
        from tuneoff.report.display import Plots

        return Plots(self)

    def load(self, arm: str, device: str = "auto", precision: str = "auto") -> Predictor:
        """The model of an arm's best run on validation, in memory: `results.load("lora").predict(["a text"])`.

        Args:
            arm: its name.
            device: "auto", "cpu" or "cuda".
            precision: "auto", "bf16" or "fp32".

        Raises:
            UserError: (a `ValueError`) where there is no such model, or it cannot be used.
        """
        from tuneoff.serving.predictor import ONLY, Predictor

        return Predictor({ONLY: self.model_folder(arm)}, device=device, precision=precision)

    def _repr_html_(self) -> str:
        from tuneoff.report.display import results_html, use_html

        return results_html(self.summary) + use_html(self)


def load_results(folder: str | Path) -> StudyResults:
    """Reads a study's folder, finished or not.

    Raises:
        UserError: (a `ValueError`) where the folder holds no study, or a damaged one.
    """
    return StudyResults.read(folder)


def run_study(
    spec: StudySpec,
    out: str | Path | None = None,
    listener: Listener | None = None,
    retry_failed: bool = False,
    report: bool = True,
) -> StudyResults:
    """Carries out a study, or what is left of it, and writes its report.

    Args:
        spec: from `load_study`.
        out: the study's folder; `studies-out/<name>` when left out. Runs that it holds already are not repeated.
        listener: told about progress.
        retry_failed: whether runs that failed before are tried again.
        report: whether the page, the Markdown and the charts are written, and the page also while runs go on;
            `summary.json` is always written.

    Returns:
        The results, the same as `load_results(out)` gives. Runs may have failed: see `StudyResults.failed`.

    Raises:
        UserError: (a `ValueError`) where the study cannot be carried out, and nothing has been written; or where the
            disk is full or cannot be written any more, and finished runs are stored.
        KeyboardInterrupt: finished runs are stored, and those under way have a checkpoint to go on from, unless it
            was asked for twice.
    """
    listener = listener or Silent()
    folder = Path(out) if out is not None else STUDIES / spec.name
    interruption = Interruption()
    check_installed(spec)
    with interruption.caught(), locked(folder), _disk_trouble_explained(), hub.telling(listener.say):
        pinned = pin_to_commits(spec, folder, listener.say)
        with Trackers(pinned.spec, folder, listener.say) as trackers:
            keepers = [PageKeeper(folder, listener.say)] if report else []
            try:
                carry_out(pinned, folder, Audience(listener, trackers, *keepers), interruption, retry_failed)
            finally:
                for keeper in keepers:
                    keeper.wait()
            results = load_results(folder)
            (write_report if report else write_summary)(results)
            trackers.study_ended(results)
        return results


@contextmanager
def _disk_trouble_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_disk_trouble(error) or error.errno is None:
            raise
        reason = f"{error.filename}: {os.strerror(error.errno)}" if error.filename else str(error)
        raise UserError(f"{reason}; finished runs are kept, and the same command goes on from here") from error
