"""Preparing a study's data once: read, split, audit, tokenise, score the baselines, store."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from tuneoff import hub
from tuneoff.analysis.baselines import pooled_baselines, score_baselines
from tuneoff.data.audit import AuditError, Finding, audit, baseline_findings, in_order, stop_on_errors
from tuneoff.data.audit.truncation import truncation_findings
from tuneoff.data.audit.unknown import unknown_findings
from tuneoff.data.cache import MANIFEST, PREPARED, cached, copy_prepared, damage, entry, preparing
from tuneoff.data.parts import WHOLE, make_parts, overall, part_words, place_of
from tuneoff.data.rows import SPLITS, collect_rows
from tuneoff.data.sources import open_parts, source_fingerprint
from tuneoff.data.splits import Splits
from tuneoff.errors import UserError
from tuneoff.errors import damaged as damaged_file
from tuneoff.files import canonical_hash, read_json, write_json
from tuneoff.methods.base import Frozen
from tuneoff.models.fingerprint import Stamp, changed_since, stamp_folder
from tuneoff.models.load import load_config, load_tokenizer, longest_input, resolve_model
from tuneoff.study.pins import pin_to_commits
from tuneoff.study.rates import model_width
from tuneoff.study.store import set_aside

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens
    from tuneoff.data.write import WrittenSplit
    from tuneoff.spec import DataSpec, StudySpec

PREPARATION_VERSION = 5

Say = Callable[[str], None]


class PreparedPart(Frozen):
    """What is known of one part of a study's data: a fold, or a training size."""

    fingerprint: str
    """Hash of the tokens and labels of its splits."""
    sizes: dict[str, int]
    baselines: dict[str, Any]


class Prepared(Frozen):
    """What `data/prepared.json` says of a study's data; paths are not part of it, so that the folder can move.

    Of several training sizes, `sizes`, `tokens`, `cut_texts` and `baselines` are those of the largest. Of folds they
    are those of fold 0, but what concerns test is over all folds, in their order.
    """

    key: str
    """Hash of all that preparation depends on; equal keys mean that nothing needs to be done again."""
    fingerprint: str
    """Hash of the tokens and labels of all splits, of all parts."""
    model_fingerprint: str
    label_names: tuple[str, ...]
    sizes: dict[str, int]
    tokens: dict[str, int]
    cut_texts: dict[str, int]
    removed: dict[str, int]
    pad_token_id: int
    model_width: int
    """Of the model's hidden states, by which learning rates start (`tuneoff.study.rates`)."""
    baselines: dict[str, Any]
    findings: tuple[dict[str, Any], ...]
    parts: dict[str, PreparedPart] = Field(default_factory=dict)
    """By name, where the data has more parts than the whole."""

    def part(self, name: str) -> PreparedPart:
        """One part of the data, or the whole."""
        if name == WHOLE:
            return PreparedPart(fingerprint=self.fingerprint, sizes=self.sizes, baselines=self.baselines)
        return self.parts[name]


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
    source = source_fingerprint(spec.data)
    key = canonical_hash([PREPARATION_VERSION, spec.data.model_dump(mode="json"), source, model_fingerprint])
    damaged = damage(data_folder)
    if damaged is not None:
        say(f"{data_folder}: {damaged}; it is set aside in {set_aside(out, data_folder)} and prepared again")
    stored = _stored(data_folder)
    if stored is not None and stored.key == key:
        return PreparedStudy(stored, model_folder, data_folder, stamp)
    folder = cached(key)
    if folder is None:
        with preparing(key) as unfinished:
            _prepare(spec, unfinished, model_folder, model_fingerprint, key, say, accepted or (lambda: None))
            if source_fingerprint(spec.data) != source:
                raise UserError("the data was changed while it was prepared; run the study again")
            if changed_since(model_folder, stamp) is not None:
                raise UserError("the model was changed while the data was prepared; run the study again")
        folder = entry(key)
    else:
        say("Preparing data: prepared before, for this or another study")
    found = _stored(folder)
    assert found is not None
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
    return [Finding.model_validate(finding) for finding in prepared.prepared.findings]


@contextmanager
def audited(spec: DataSpec, say: Say) -> Iterator[tuple[dict[str, Splits], list[Finding]]]:
    """Reads, splits and audits a study's data, part by part; the rows' texts are there inside the block.

    Raises:
        UserError: where the data cannot be used; not for what the audit finds.
    """
    with tempfile.TemporaryDirectory(prefix="tuneoff-") as folder:
        yield _split_and_audit(spec, Path(folder), say)


def _split_and_audit(spec: DataSpec, folder: Path, say: Say) -> tuple[dict[str, Splits], list[Finding]]:
    say("Preparing data: reading, splitting, checking")
    parts = make_parts(collect_rows(open_parts(spec), spec, folder, say), spec)
    return parts, _audit(parts, spec)


def _audit(parts: dict[str, Splits], spec: DataSpec) -> list[Finding]:
    """What the audit finds in the first part, and what is more than information and new in the others."""
    findings: list[Finding] = []
    for part, splits in parts.items():
        found = audit(splits, spec.accept)
        if findings:
            known = {(finding.name, finding.split, finding.severity) for finding in findings}
            found = [
                finding.model_copy(update={"message": f"{part_words(part)}: {finding.message}"})
                for finding in found
                if finding.severity != "info" and (finding.name, finding.split, finding.severity) not in known
            ]
        findings += found
    return in_order(findings)


def _prepare(
    spec: StudySpec,
    folder: Path,
    model_folder: Path,
    model_fingerprint: str,
    key: str,
    say: Say,
    accepted: Callable[[], None],
) -> None:
    """Fills a folder with a study's prepared data."""
    from tuneoff.data.write import write_parts

    parts, findings = _split_and_audit(spec.data, folder, say)
    stop_on_errors(findings)
    accepted()
    first = next(iter(parts.values()))
    # Before the tokenizer, with which torch comes: both at once would take the most memory.
    say("Scoring the baselines: majority class, TF-IDF with logistic regression")
    baselines = {part: score_baselines(splits) for part, splits in parts.items()}
    definition, pad_token_id = cutting_tokenizer(spec, model_folder, len(first.label_names))
    written = write_parts(parts, folder, definition, say)
    study_baselines = next(iter(baselines.values()))
    if spec.data.folds is not None:
        study_baselines = pooled_baselines(
            list(baselines.values()), [splits.labels("test") for splits in parts.values()]
        )
    first_written = next(iter(written.values()))
    findings = in_order(
        [
            *findings,
            *truncation_findings(
                first,
                {name: split.lost for name, split in first_written.items()},
                {name: split.tokens for name, split in first_written.items()},
            ),
            *unknown_findings(first, load_tokens(folder, next(iter(parts))), definition),
            *baseline_findings((baseline["label"], baseline["test_accuracy"]) for baseline in study_baselines.values()),
        ]
    )
    first.rows.file.unlink()
    fingerprints = {
        part: canonical_hash([split.digest for split in by_split.values()]) for part, by_split in written.items()
    }

    def numbers(of: Callable[[WrittenSplit], int]) -> dict[str, int]:
        by_part = {part: {name: of(split) for name, split in splits.items()} for part, splits in written.items()}
        return overall(spec.data, by_part)

    prepared = Prepared(
        key=key,
        fingerprint=fingerprints[WHOLE] if WHOLE in parts else canonical_hash(fingerprints),
        model_fingerprint=model_fingerprint,
        label_names=first.label_names,
        sizes=numbers(lambda split: len(split.lost)),
        tokens=numbers(lambda split: split.tokens),
        cut_texts=numbers(lambda split: split.cut_texts),
        removed=first.removed,
        pad_token_id=pad_token_id,
        model_width=model_width(model_folder),
        baselines=study_baselines,
        findings=tuple(finding.model_dump(mode="json") for finding in findings),
        parts={
            part: PreparedPart(fingerprint=fingerprints[part], sizes=splits.sizes, baselines=baselines[part])
            for part, splits in parts.items()
            if part != WHOLE
        },
    )
    write_json(folder / "audit.json", {"findings": list(prepared.findings)})
    write_json(folder / PREPARED, prepared.model_dump(mode="json"))


def cutting_tokenizer(spec: StudySpec, model_folder: Path, num_labels: int) -> tuple[str, int]:
    """The model's tokenizer, set to cut at the study's length, as JSON; and the token that pads.

    Raises:
        UserError: where the model has no tokenizer that works, or `data.max_length` does not fit it.
    """
    tokenizer = load_tokenizer(model_folder)
    config = load_config(model_folder, num_labels, tokenizer.pad_token_id)
    limit = longest_input(config, tokenizer)
    length = spec.data.max_length
    if length > limit:
        raise UserError(f"data.max_length = {length}, but this model takes at most {limit} tokens")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"model.id: the tokenizer of '{spec.model.id}' has no fast version (a tokenizer.json)")
    if length <= backend.num_special_tokens_to_add(spec.data.text_pair is not None):
        raise UserError(f"data.max_length = {length} leaves no room for text beside the model's special tokens")
    backend.no_padding()
    backend.enable_truncation(length, strategy="longest_first", direction=tokenizer.truncation_side)
    return backend.to_str(), int(tokenizer.pad_token_id)


def load_tokens(data_folder: Path, part: str = WHOLE, splits: Sequence[str] = SPLITS) -> dict[str, Tokens]:
    """The stored tokens of a part's splits, memory-mapped; those that are not asked for are not opened."""
    from tuneoff.data.tokens import Tokens

    return {name: Tokens.load(data_folder / place_of(part, name)) for name in splits}


def read_prepared(study_folder: Path) -> Prepared:
    """What `data/prepared.json` of a study's folder says.

    Raises:
        UserError: where it is missing or damaged, or an earlier version of Tuneoff wrote it.
    """
    path = study_folder / "data" / PREPARED
    try:
        return Prepared.model_validate(read_json(path))
    except ValidationError as error:
        if all(one["type"] in ("missing", "extra_forbidden") for one in error.errors()):
            again = shlex.join(["tuneoff", "run", str(study_folder / "study.toml"), "--out", str(study_folder)])
            raise UserError(
                f"{path} was written by another version of Tuneoff; `{again}` prepares the data again, and keeps the "
                "results that still hold"
            ) from error
        raise damaged_file(path, error) from error
    except (OSError, ValueError) as error:
        raise damaged_file(path, error) from error


def _stored(data_folder: Path) -> Prepared | None:
    """What an earlier preparation left, or None where it came to no end, or was that of another version."""
    if not (data_folder / MANIFEST).exists():
        return None
    try:
        return Prepared.model_validate(read_json(data_folder / PREPARED))
    except (FileNotFoundError, ValueError, ValidationError):
        return None
