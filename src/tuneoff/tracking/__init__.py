"""Experiment trackers: a study's stored results, shown elsewhere. A tracker is a file here."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tuneoff.core.files import canonical_hash
from tuneoff.spec.tracking import TRACKERS
from tuneoff.study.listener import Silent
from tuneoff.tracking.base import Tracked
from tuneoff.tracking.delivery import Delivery, News
from tuneoff.tracking.remembered import Remembered

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.run import RunResult
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.run import Run
    from tuneoff.spec import StudySpec

STUDY = "study"
END_SECONDS = 120.0
"""How long servers are waited for once a study has ended; what they have not taken by then is tracked another time."""
SOON_SECONDS = 2.0
"""A server that has taken everything by then is not spoken of."""
UNAFFECTED = "results are not affected, and the same command tracks what is missing"


class Trackers(Silent):
    """The trackers that a study asks for. None of them can fail it: one that raises is left alone, which is said.

    Each works on a thread of its own (`tuneoff.tracking.delivery`). One that works on this machine alone is waited for
    between runs, so that no run is timed beside it; one that talks to a server is waited for in the end alone.

    What has been tracked is remembered in the study's folder, as hashes of what was told, so that going on with a study
    tracks each run once, a run that is tried again anew, and runs from before tracking was turned on as well.

    Args:
        spec: the study.
        folder: its folder; nothing is written before something is tracked.
        say: told in one line about a tracker that fails or is slow, and where to look in the end.

    Raises:
        UserError: where a tracker cannot be used as things are, or `tracked.json` is damaged.
    """

    def __init__(self, spec: StudySpec, folder: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._deliveries: list[Delivery] = []
        asked = {name: tracker for name, tracker in TRACKERS.classes().items() if getattr(spec.tracking, name, False)}
        used = {name: tracker for name, tracker in asked.items() if tracker.check(spec)}
        if used:
            remembered = Remembered(folder)
            study = Tracked(spec, folder.absolute(), remembered.token)
            self._deliveries = [Delivery(name, tracker(study), remembered) for name, tracker in used.items()]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for delivery in self._deliveries:
            delivery.close()

    def progressed(self, run: Run, progress: RunProgress) -> None:
        """Says what has failed meanwhile."""
        self._say_failures()

    def run_finished(self, run: Run, result: RunResult) -> None:
        """Tracks a run that has a stored result."""
        self.run_ended(result)
        self._say_failures()

    def run_ended(self, result: RunResult) -> None:
        """Tracks a run; one that was interrupted is to go on and is not tracked yet."""
        news = _news_of_run(result)
        if news is None:
            return
        for delivery in self._deliveries:
            delivery.tell(news)
            if not delivery.tracker.waits_for_server():
                delivery.wait()

    def study_ended(self, results: StudyResults) -> None:
        """Tracks what the study came to, and first each ended run or trial that is not yet. The report is written.

        Nothing is tracked after it.
        """
        of_runs = [_news_of_run(result) for result in [*results.trials, *results.runs]]
        of_study = News(
            STUDY,
            canonical_hash(results.summary.model_dump(mode="json")),
            lambda tracker: tracker.track_study(results),
        )
        for delivery in self._deliveries:
            for news in (*of_runs, of_study):
                if news is not None:
                    delivery.tell(news, whatever_waits=True)
        end = time.monotonic() + END_SECONDS
        late = [delivery for delivery in self._deliveries if self._is_late(delivery, end)]
        self._say_failures()
        for delivery in self._deliveries:
            if delivery not in late:
                self._say(f"{delivery.name}: {delivery.tracker.where()}")
            delivery.close()

    def _is_late(self, delivery: Delivery, end: float) -> bool:
        """Waits for a tracker to take what is left for it; says what it has not taken in time."""
        if not delivery.tracker.waits_for_server():
            delivery.wait()
            return False
        if delivery.wait(min(SOON_SECONDS, max(0.0, end - time.monotonic()))) and delivery.failure is None:
            self._say(f"{delivery.name}: its server is waited for, {max(0.0, end - time.monotonic()):.0f} s at most")
        left = delivery.wait(max(0.0, end - time.monotonic()))
        if not left or delivery.failure is not None:
            return False
        entries = "entry was" if left == 1 else "entries were"
        self._say(f"{delivery.name}: {left} {entries} not taken within {END_SECONDS:g} s; {UNAFFECTED}")
        return True

    def _say_failures(self) -> None:
        """Tells of each tracker that has failed once, and leaves it alone."""
        for delivery in [delivery for delivery in self._deliveries if delivery.failure is not None]:
            self._say(f"{delivery.name}: {delivery.failure}; {UNAFFECTED}")
            self._deliveries.remove(delivery)


def _news_of_run(result: RunResult) -> News | None:
    if result.status == "interrupted":
        return None
    told = result.model_dump(mode="json", exclude={"sha256", "predictions_sha256"})
    return News(result.run_id, canonical_hash(told), lambda tracker: tracker.track_run(result))
