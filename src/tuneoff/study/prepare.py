"""Preparing a study: its model found, its data prepared or found prepared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core import hub
from tuneoff.core.errors import UserError
from tuneoff.core.files import canonical_hash
from tuneoff.core.texts import counted, in_line
from tuneoff.data.audit import AuditError
from tuneoff.data.cache import cached, copy_prepared, damage, entry, preparing
from tuneoff.data.prepare import prepare_data, rules_of
from tuneoff.data.prepared import stored
from tuneoff.models.fingerprint import Stamp, changed_since, stamp_folder
from tuneoff.models.load import resolve_model
from tuneoff.records.finding import Finding
from tuneoff.records.prepared import Prepared
from tuneoff.study.pins import pin_to_commits
from tuneoff.study.store import set_aside

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec

PREPARATION_VERSION = 6

Say = Callable[[str], None]


@dataclass(frozen=True)
class PreparedStudy:
    """A study that is ready to be planned."""

    prepared: Prepared
    model_folder: Path
    data_folder: Path
    model_stamp: Stamp
    """The model as it was when it was looked at first."""
    unsaved: Path | None = None
    """Where the data is as long as it is not in `data_folder`."""

    @property
    def stored_in(self) -> Path:
        """Where the data is now."""
        return self.unsaved or self.data_folder

    def save(self) -> None:
        """Brings the data into the study's folder where it is new."""
        if self.unsaved is not None:
            copy_prepared(self.unsaved, self.data_folder)


def prepare_study(spec: StudySpec, out: Path, say: Say, accepted: Callable[[], None] | None = None) -> PreparedStudy:
    """Prepares a study's data in the cache, or finds it there or in `out/data` already. See `PreparedStudy.save`.

    Prepared data in `out/data` that has been changed since is set aside.

    Args:
        spec: the study.
        out: the study's folder; nothing is written there.
        say: told what goes on.
        accepted: called when new data has passed the audit, so that runs will follow; most of the work is ahead then.

    Raises:
        UserError: where data or model cannot be used.
    """
    model_folder = resolve_model(spec.model.id, spec.model.revision)
    data_folder = out / "data"
    stamp = stamp_folder(model_folder)
    model_fingerprint = stamp.fingerprint
    source = spec.data.fingerprint()
    # How many classes there are is not known yet; of more than two nothing hangs on the objective.
    rules = [*rules_of(spec)[1:], *([] if spec.baselines_for(2) is None else [spec.objective])]
    key = canonical_hash([PREPARATION_VERSION, spec.data.model_dump(mode="json"), *rules, source, model_fingerprint])
    damaged = damage(data_folder)
    if damaged is not None:
        say(f"{data_folder}: {damaged}; it is set aside in {set_aside(out, data_folder)} and prepared again")
    found = stored(data_folder)
    if found is not None and found.key == key:
        return PreparedStudy(found, model_folder, data_folder, stamp)
    folder = cached(key)
    if folder is None:
        with preparing(key) as unfinished:
            prepare_data(spec, unfinished, model_folder, model_fingerprint, key, say, accepted or (lambda: None))
            if spec.data.fingerprint() != source:
                raise UserError("the data was changed while it was prepared; run the study again")
            if changed_since(model_folder, stamp) is not None:
                raise UserError("the model was changed while the data was prepared; run the study again")
        folder = entry(key)
    else:
        say("Preparing data: prepared before, for this or another study")
    found = stored(folder)
    assert found is not None
    warnings = [finding.name for finding in found.findings if finding.severity == "warning"]
    if warnings:
        named = in_line(sorted(set(warnings)))
        say(f"The data's audit has {counted(len(warnings), 'warning')} ({named}); `tuneoff audit` tells more")
    return PreparedStudy(found, model_folder, data_folder, stamp, unsaved=folder)


def audit_study(spec: StudySpec, say: Say = lambda _: None) -> list[Finding]:
    """All that the audit finds in a study's data, what is known once it is tokenised included where nothing stops it.

    The data that is prepared for that stays in the cache for the study.

    Args:
        spec: the study.
        say: told what is fetched from the Hub.

    Raises:
        UserError: where data or model cannot be used; not for what the audit finds.
    """
    with tempfile.TemporaryDirectory() as nowhere, hub.telling(say):
        spec = pin_to_commits(spec, None, say).spec
        try:
            prepared = prepare_study(spec, Path(nowhere), lambda _: None)
        except AuditError as stop:
            return stop.findings
    return list(prepared.prepared.findings)
