"""Preparing a study's data once: load, split, audit, tokenise, score the floors, store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tuneoff.analysis.floors import score_floors
from tuneoff.data.audit import audit, stop_on_errors
from tuneoff.data.sources import load_source, source_fingerprint
from tuneoff.data.splits import SPLITS, Splits, make_splits
from tuneoff.errors import UserError
from tuneoff.files import canonical_hash, file_hash, read_json, replacing, write_json
from tuneoff.methods.base import Frozen
from tuneoff.models.load import load_config, load_tokenizer, longest_input, resolve_model
from tuneoff.study.store import set_aside

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens
    from tuneoff.spec import StudySpec

PREPARATION_VERSION = 1
MANIFEST = "manifest.json"
"""Hashes of the other files of the prepared data; written last, it makes them whole."""
MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")


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
    unsaved: tuple[Splits, dict[str, Tokens]] | None = None
    """Splits and tokens that are not in `data_folder` yet."""

    def save(self) -> None:
        """Writes the data where it is new."""
        if self.unsaved is None:
            return
        splits, tokens = self.unsaved
        (self.data_folder / MANIFEST).unlink(missing_ok=True)
        for name, frame in splits.items():
            tokens[name].save(self.data_folder / name)
            with replacing(self.data_folder / f"{name}.parquet") as temporary:
                frame.to_parquet(temporary)
        write_json(self.data_folder / "audit.json", {"findings": list(self.prepared.findings)})
        write_json(self.data_folder / "prepared.json", self.prepared.model_dump(mode="json"))
        write_json(self.data_folder / MANIFEST, _hashes(self.data_folder))


def prepare_study(
    spec: StudySpec, out: Path, say: Callable[[str], None], accepted: Callable[[], None] | None = None
) -> PreparedStudy:
    """Prepares a study's data, or finds it prepared in `out/data` already. Writes nothing: see `PreparedStudy.save`.

    Prepared data that has been changed since is set aside.

    Args:
        spec: the study.
        out: the study's folder.
        say: told what goes on.
        accepted: called when new data has passed the audit, so that runs will follow; most of the work is ahead then.

    Raises:
        UserError: where data or model cannot be used.
    """
    model_folder = resolve_model(spec.model.id, spec.model.revision)
    data_folder = out / "data"
    model_fingerprint = fingerprint_folder(model_folder)
    key = canonical_hash(
        [PREPARATION_VERSION, spec.data.model_dump(mode="json"), source_fingerprint(spec.data), model_fingerprint]
    )
    damaged = _damaged(data_folder)
    if damaged is not None:
        say(f"{data_folder}: {damaged}; it is set aside in {set_aside(out, data_folder)} and prepared again")
    stored = _stored(data_folder)
    if stored is not None and stored.key == key:
        return PreparedStudy(stored, model_folder, data_folder)

    say("Preparing data: loading, splitting, checking")
    splits = make_splits(load_source(spec.data), spec.data)
    findings = audit(splits, spec.data.accept)
    stop_on_errors(findings)
    if accepted is not None:
        accepted()
    say("Preparing data: tokenising")
    tokens, cut, pad_token_id = _tokenise_all(splits, spec, model_folder)
    say("Scoring the floors: majority class, TF-IDF with logistic regression")
    floors = score_floors(splits)

    prepared = Prepared(
        key=key,
        fingerprint=_fingerprint_tokens(tokens),
        model_fingerprint=model_fingerprint,
        label_names=splits.label_names,
        sizes={name: len(frame) for name, frame in splits.items()},
        tokens={name: len(split.ids) for name, split in tokens.items()},
        cut_texts=cut,
        removed=splits.removed,
        pad_token_id=pad_token_id,
        floors=floors,
        findings=tuple(finding.model_dump(mode="json") for finding in findings),
    )
    return PreparedStudy(prepared, model_folder, data_folder, unsaved=(splits, tokens))


def _tokenise_all(splits: Splits, spec: StudySpec, model_folder: Path) -> tuple[dict[str, Tokens], dict[str, int], int]:
    from tuneoff.data.tokens import tokenise

    tokenizer = load_tokenizer(model_folder)
    config = load_config(model_folder, len(splits.label_names), tokenizer.pad_token_id)
    limit = longest_input(config, tokenizer)
    if spec.data.max_length > limit:
        raise UserError(f"data.max_length = {spec.data.max_length}, but this model takes at most {limit} tokens")
    tokens, cut = {}, {}
    for name, frame in splits.items():
        tokens[name], cut[name] = tokenise(
            frame["text"].tolist(), frame["label"].tolist(), tokenizer, spec.data.max_length
        )
    return tokens, cut, int(tokenizer.pad_token_id)


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


def _fingerprint_tokens(tokens: dict[str, Tokens]) -> str:
    digest = hashlib.sha256()
    for name in SPLITS:
        for array in (tokens[name].ids, tokens[name].offsets, tokens[name].labels):
            digest.update(array.tobytes())
    return digest.hexdigest()


def _stored(data_folder: Path) -> Prepared | None:
    """What an earlier preparation left, or None where it came to no end, or was that of another version."""
    if not (data_folder / MANIFEST).exists():
        return None
    try:
        return Prepared.model_validate(read_json(data_folder / "prepared.json"))
    except (FileNotFoundError, ValueError, ValidationError):
        return None


def _damaged(data_folder: Path) -> str | None:
    """What is wrong with the files of a preparation that came to its end, if anything is."""
    try:
        expected = read_json(data_folder / MANIFEST)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return f"{MANIFEST} cannot be read"
    if not isinstance(expected, dict):
        return f"{MANIFEST} holds no hashes"
    found = _hashes(data_folder)
    changed = sorted(name for name in expected if expected[name] != found.get(name))
    return f"{changed[0]} is missing or has been changed" if changed else None


def _hashes(data_folder: Path) -> dict[str, str]:
    """SHA-256 of all files of prepared data but the manifest, by their names in its folder."""
    paths = (path for path in sorted(data_folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(data_folder).as_posix(): file_hash(path) for path in paths}
