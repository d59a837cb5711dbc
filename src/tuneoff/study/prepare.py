"""Preparing a study's data once: read, split, audit, tokenise, score the floors, store."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tuneoff.analysis.floors import score_floors
from tuneoff.data.audit import AuditError, Finding, audit, floor_findings, in_order, stop_on_errors
from tuneoff.data.audit.truncation import truncation_findings
from tuneoff.data.cache import MANIFEST, PREPARED, cached, copy_prepared, damage, entry, preparing
from tuneoff.data.rows import SPLITS, collect_rows
from tuneoff.data.sources import open_parts, source_fingerprint
from tuneoff.data.splits import Splits, make_splits
from tuneoff.errors import UserError
from tuneoff.files import canonical_hash, read_json, write_json
from tuneoff.methods.base import Frozen
from tuneoff.models.load import load_config, load_tokenizer, longest_input, resolve_model
from tuneoff.study.store import set_aside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.data.encode import Texts
    from tuneoff.data.tokens import Tokens
    from tuneoff.spec import DataSpec, StudySpec

PREPARATION_VERSION = 2
MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")
PROGRESS_SECONDS = 5.0

Say = Callable[[str], None]


class Prepared(Frozen):
    """What `data/prepared.json` says of a study's data; paths are not part of it, so that the folder can move."""

    key: str
    """Hash of all that preparation depends on; equal keys mean that nothing needs to be done again."""
    fingerprint: str
    """Hash of the tokens and labels of all splits."""
    model_fingerprint: str
    label_names: tuple[str, ...]
    sizes: dict[str, int]
    tokens: dict[str, int]
    cut_texts: dict[str, int]
    removed: dict[str, int]
    pad_token_id: int
    floors: dict[str, Any]
    findings: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class PreparedStudy:
    """A study that is ready to be planned."""

    prepared: Prepared
    model_folder: Path
    data_folder: Path
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
    model_fingerprint = fingerprint_folder(model_folder)
    source = source_fingerprint(spec.data)
    key = canonical_hash([PREPARATION_VERSION, spec.data.model_dump(mode="json"), source, model_fingerprint])
    damaged = damage(data_folder)
    if damaged is not None:
        say(f"{data_folder}: {damaged}; it is set aside in {set_aside(out, data_folder)} and prepared again")
    stored = _stored(data_folder)
    if stored is not None and stored.key == key:
        return PreparedStudy(stored, model_folder, data_folder)
    folder = cached(key)
    if folder is None:
        with preparing(key) as unfinished:
            _prepare(spec, unfinished, model_folder, model_fingerprint, key, say, accepted or (lambda: None))
            if source_fingerprint(spec.data) != source:
                raise UserError("the data was changed while it was prepared; run the study again")
        folder = entry(key)
    else:
        say("Preparing data: prepared before, for this or another study")
    found = _stored(folder)
    assert found is not None
    return PreparedStudy(found, model_folder, data_folder, unsaved=folder)


def audit_study(spec: StudySpec) -> list[Finding]:
    """All that the audit finds in a study's data, what is known once it is tokenised included where nothing stops it.

    The data that is prepared for that stays in the cache for the study.

    Raises:
        UserError: where data or model cannot be used; not for what the audit finds.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        try:
            prepared = prepare_study(spec, Path(nowhere), lambda _: None)
        except AuditError as stop:
            return stop.findings
    return [Finding.model_validate(finding) for finding in prepared.prepared.findings]


@contextmanager
def audited(spec: DataSpec, say: Say) -> Iterator[tuple[Splits, list[Finding]]]:
    """Reads, splits and audits a study's data; the rows' texts are there inside the block.

    Raises:
        UserError: where the data cannot be used; not for what the audit finds.
    """
    with tempfile.TemporaryDirectory(prefix="tuneoff-") as folder:
        yield _split_and_audit(spec, Path(folder), say)


def _split_and_audit(spec: DataSpec, folder: Path, say: Say) -> tuple[Splits, list[Finding]]:
    say("Preparing data: reading, splitting, checking")
    splits = make_splits(collect_rows(open_parts(spec), spec, folder, say), spec)
    return splits, audit(splits, spec.accept)


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
    splits, findings = _split_and_audit(spec.data, folder, say)
    stop_on_errors(findings)
    accepted()
    # Before the tokenizer, with which torch comes: both at once would take the most memory.
    say("Scoring the floors: majority class, TF-IDF with logistic regression")
    floors = score_floors(splits)
    definition, pad_token_id = _tokenizer(spec, model_folder, len(splits.label_names))
    written = {name: _write_split(splits, name, folder, definition, say) for name in SPLITS}
    findings = in_order(
        [
            *findings,
            *truncation_findings(
                splits,
                {name: split.lost for name, split in written.items()},
                {name: split.tokens for name, split in written.items()},
            ),
            *floor_findings((floor["label"], floor["test_accuracy"]) for floor in floors.values()),
        ]
    )
    splits.rows.file.unlink()
    prepared = Prepared(
        key=key,
        fingerprint=canonical_hash([split.digest for split in written.values()]),
        model_fingerprint=model_fingerprint,
        label_names=splits.label_names,
        sizes=splits.sizes,
        tokens={name: split.tokens for name, split in written.items()},
        cut_texts={name: int((split.lost > 0).sum()) for name, split in written.items()},
        removed=splits.removed,
        pad_token_id=pad_token_id,
        floors=floors,
        findings=tuple(finding.model_dump(mode="json") for finding in findings),
    )
    write_json(folder / "audit.json", {"findings": list(prepared.findings)})
    write_json(folder / PREPARED, prepared.model_dump(mode="json"))


def _tokenizer(spec: StudySpec, model_folder: Path, num_labels: int) -> tuple[str, int]:
    """The model's tokenizer, set to cut at the study's length, as JSON; and the token that pads."""
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


@dataclass(frozen=True)
class _WrittenSplit:
    """What is known of a split once it is written: tokens, their hash, and how many each text lost, shape (rows,)."""

    tokens: int
    digest: str
    lost: NDArray[np.int32]


def _write_split(splits: Splits, name: str, folder: Path, definition: str, say: Say) -> _WrittenSplit:
    """Writes a split's texts and hashes as Parquet, and its tokens."""
    import numpy as np
    import pyarrow.parquet as pq

    from tuneoff.data.encode import encode_all
    from tuneoff.data.tokens import writing_tokens

    say(f"Preparing data: tokenising {name}")
    labels = splits.labels(name)
    # Filled, rather than a list of pieces: those would be kept between larger ones that are freed, and hold their room.
    lost = np.empty(len(labels), dtype=np.int32)
    done, began = 0, time.monotonic()
    said = began
    pairs = splits.rows.columns.text_pair is not None
    with writing_tokens(folder / name, pairs) as writer:
        for encoded in encode_all(_texts(splits, name, folder / f"{name}.parquet"), definition, len(labels)):
            end = done + len(encoded.lengths)
            writer.append(encoded, labels[done:end])
            lost[done:end] = encoded.lost
            done = end
            now = time.monotonic()
            if now - said > PROGRESS_SECONDS:
                left = (now - began) / done * (len(labels) - done)
                say(f"Preparing data: tokenised {done:,} of {len(labels):,} {name} texts, {left:.0f} s left")
                said = now
    assert pq.read_metadata(folder / f"{name}.parquet").num_rows == done == len(labels)
    return _WrittenSplit(writer.tokens, writer.digest, lost)


def _texts(splits: Splits, name: str, file: Path) -> Iterator[Texts]:
    """A split's texts, or pairs of them, each batch of which is written to a file first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = splits.rows
    writer = None
    try:
        for table in splits.tables(name):
            numbers = table.column("row").to_numpy()
            table = table.append_column("label", pa.array(rows.labels[numbers]))
            table = table.append_column("key", pa.array(rows.keys[numbers]))
            if writer is None:
                writer = pq.ParquetWriter(file, table.schema, compression="zstd", use_dictionary=["label"])
            writer.write_table(table)
            texts = table.column("text").to_pylist()
            pairs = table.column("text_pair").to_pylist() if "text_pair" in table.column_names else None
            yield texts if pairs is None else list(zip(texts, pairs, strict=True))
    finally:
        if writer is not None:
            writer.close()


def load_tokens(data_folder: Path) -> dict[str, Tokens]:
    """The stored tokens of all splits, memory-mapped."""
    from tuneoff.data.tokens import Tokens

    return {name: Tokens.load(data_folder / name) for name in SPLITS}


def model_files(folder: Path) -> list[Path]:
    """The files of a model folder that a run reads: configuration, tokenizer, weights."""
    return sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)})


def fingerprint_folder(folder: Path) -> str:
    """A hash of a model folder: small files by content, large ones (weights) by size and three samples of 1 MB."""
    digest = hashlib.sha256()
    for path in model_files(folder):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as handle:
            for start in (0,) if size <= 3 << 20 else (0, size // 2, size - (1 << 20)):
                handle.seek(start)
                digest.update(handle.read(3 << 20 if size <= 3 << 20 else 1 << 20))
    return digest.hexdigest()


def _stored(data_folder: Path) -> Prepared | None:
    """What an earlier preparation left, or None where it came to no end, or was that of another version."""
    if not (data_folder / MANIFEST).exists():
        return None
    try:
        return Prepared.model_validate(read_json(data_folder / PREPARED))
    except (FileNotFoundError, ValueError, ValidationError):
        return None
