"""Experiment trackers: a study's stored results, shown elsewhere. Each file here defines one tracker."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError, one_line
from tuneoff.core.files import canonical_hash, read_json, write_json
from tuneoff.spec.schema import TRACKERS
from tuneoff.study.listener import Silent
from tuneoff.tracking.base import Tracked, Tracker

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.run import RunResult
    from tuneoff.runs.run import Run
    from tuneoff.spec import StudySpec

REMEMBERED = "tracked.json"
STUDY = "study"


class Trackers(Silent):
    """The trackers that a study asks for. None of them can fail it: one that raises is left alone, which is said.

    What has been tracked is remembered in the study's folder, as hashes of what was told, so that going on with a study
    tracks each run once, a run that is tried again anew, and runs from before tracking was turned on as well.

    Args:
        spec: the study.
        folder: its folder; nothing is written before something is tracked.
        say: told in one line about a tracker that fails, and where to look in the end.

    Raises:
        UserError: where a tracker cannot be used as things are, or `tracked.json` is damaged.
    """

    def __init__(self, spec: StudySpec, folder: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._path = folder / REMEMBERED
        self._trackers: dict[str, Tracker] = {}
        asked = {name: tracker for name, tracker in TRACKERS.classes().items() if getattr(spec.tracking, name, False)}
        used = {name: tracker for name, tracker in asked.items() if tracker.check(spec)}
        if used:
            self._token, self._remembered = self._read()
            study = Tracked(spec, folder.absolute(), self._token)
            self._trackers = {name: tracker(study) for name, tracker in used.items()}

    def run_finished(self, run: Run, result: RunResult) -> None:
        """Tracks a run that has a stored result."""
        self.run_ended(result)

    def run_ended(self, result: RunResult) -> None:
        """Tracks a run; one that was interrupted is to go on and is not tracked yet."""
        if result.status == "interrupted":
            return
        told = result.model_dump(mode="json", exclude={"sha256", "predictions_sha256"})
        for name in list(self._trackers):
            self._attempt(name, result.run_id, told, lambda tracker: tracker.track_run(result))

    def study_ended(self, results: StudyResults) -> None:
        """Tracks what the study came to, and first each ended run or trial that is not yet. The report is written."""
        for result in [*results.trial_records, *results.run_records]:
            self.run_ended(result)
        told = results.summary_record.model_dump(mode="json")
        for name in list(self._trackers):
            self._attempt(name, STUDY, told, lambda tracker: tracker.track_study(results))
        for name, tracker in self._trackers.items():
            self._say(f"{name}: {tracker.where()}")

    def _attempt(self, name: str, what: str, told: Mapping[str, object], track: Callable[[Tracker], None]) -> None:
        """Tracks something that is not remembered, and remembers it."""
        digest = canonical_hash(told)
        remembered = self._remembered.setdefault(name, {})
        if remembered.get(what) == digest:
            return
        try:
            self._write()  # the token, before anything is known by it
            track(self._trackers[name])
            remembered[what] = digest
            self._write()
        except Exception as error:  # whatever a tracker's library raises; results are stored and must not suffer
            self._say(
                f"{name}: {what} was not tracked: {one_line(error)}; results are not affected, and the same command "
                "tracks what is missing"
            )
            del self._trackers[name]

    def _read(self) -> tuple[str, dict[str, dict[str, str]]]:
        """The folder's token, and by tracker and run the hash of what was told."""
        if not self._path.exists():
            return secrets.token_hex(8), {}
        try:
            remembered = read_json(self._path)
            token = remembered.pop("token")
            if isinstance(token, str) and all(isinstance(told, dict) for told in remembered.values()):
                return token, remembered
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        raise UserError(f"{self._path} is damaged; remove it, and runs are tracked again as new ones")

    def _write(self) -> None:
        write_json(self._path, {"token": self._token, **self._remembered})
