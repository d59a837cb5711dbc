"""Preparing data once: read, split, audit, tokenise, score the baselines, store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.core.errors import UserError
from tuneoff.core.files import canonical_hash, write_json
from tuneoff.core.long_texts import BY_TOKENIZER, LongTexts
from tuneoff.data.audit import audit, baseline_findings, in_order, stop_on_errors
from tuneoff.data.audit.truncation import truncation_findings
from tuneoff.data.audit.unknown import unknown_findings
from tuneoff.data.baselines import pooled_baselines
from tuneoff.data.cache import PREPARED
from tuneoff.data.collect import collect_rows
from tuneoff.data.parts import WHOLE, make_parts, overall, part_words
from tuneoff.data.prepared import TARGETS, load_tokens
from tuneoff.data.splits import Splits
from tuneoff.models.load import load_config, load_tokenizer, longest_input
from tuneoff.models.looking import architecture_of
from tuneoff.records.finding import Audit, Finding
from tuneoff.records.number_scale import NumberScale
from tuneoff.records.prepared import Prepared, PreparedPart
from tuneoff.spec.data import TASKS

if TYPE_CHECKING:
    from tuneoff.data.write import WrittenSplit
    from tuneoff.spec import DataSpec, StudySpec

Say = Callable[[str], None]


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
    parts = make_parts(collect_rows(spec.open_tables(), spec, folder, say), spec)
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


def prepare_data(
    spec: StudySpec,
    folder: Path,
    model_folder: Path,
    model_fingerprint: str,
    key: str,
    say: Say,
    accepted: Callable[[], None],
) -> None:
    """Fills a folder with a study's prepared data: read, split, audited, tokenised, baselines scored.

    Args:
        spec: the study; only its data, its model and what thresholds are chosen for matter.
        folder: empty.
        model_folder: of the model.
        model_fingerprint: of its files.
        key: see `Prepared.key`.
        say: told what goes on.
        accepted: called when the data has passed the audit; most of the work is ahead then.

    Raises:
        UserError: where data or model cannot be used.
    """
    from tuneoff.data.write import write_parts

    parts, findings = _split_and_audit(spec.data, folder, say)
    stop_on_errors(findings)
    accepted()
    first = next(iter(parts.values()))
    # Before the tokenizer, with which torch comes: both at once would take the most memory.
    say("Scoring the baselines: one answer for all texts, TF-IDF with a linear model")
    task = TASKS.named(spec.data.task)
    objective = spec.baselines_for(len(first.label_names))
    baselines = {part: task.baselines(splits, objective) for part, splits in parts.items()}
    definition, pad_token_id = cutting_tokenizer(spec, model_folder, len(first.label_names))
    study_rule, *other_rules = rules_of(spec)
    check_rules([study_rule, *other_rules], first.rows.columns.text_pair)
    written = write_parts(parts, folder, definition, study_rule, say)
    others = {rule: write_parts(parts, folder, definition, rule, say) for rule in other_rules}
    study_baselines = next(iter(baselines.values()))
    if spec.data.folds is not None:
        study_baselines = pooled_baselines(list(baselines.values()))
    first_written = next(iter(written.values()))
    findings = in_order(
        [
            *findings,
            *truncation_findings(
                first,
                study_rule,
                {name: split.lost for name, split in first_written.items()},
                {name: split.tokens for name, split in first_written.items()},
            ),
            *unknown_findings(first, load_tokens(folder, study_rule, next(iter(parts))), definition),
            *baseline_findings(
                (baseline.label, baseline.test_accuracy)
                for baseline in study_baselines.values()
                if baseline.test_accuracy is not None
            ),
        ]
    )
    if first.rows.label_table is not None:
        np.save(folder / TARGETS, first.rows.label_table)
    first.rows.file.unlink()
    meaning = [] if first.rows.label_table is None else [first.rows.label_table.tolist()]

    def fingerprints_of(written: dict[str, dict[str, WrittenSplit]]) -> dict[str, str]:
        return {
            part: canonical_hash([*(split.digest for split in by_split.values()), *meaning])
            for part, by_split in written.items()
        }

    fingerprints = fingerprints_of(written)

    def numbers(of: Callable[[WrittenSplit], int]) -> dict[str, int]:
        by_part = {part: {name: of(split) for name, split in splits.items()} for part, splits in written.items()}
        return overall(spec.data, by_part)

    prepared = Prepared(
        key=key,
        fingerprint=fingerprints[WHOLE] if WHOLE in parts else canonical_hash(fingerprints),
        other_fingerprints={rule: fingerprints_of(by_part) for rule, by_part in others.items()},
        model_fingerprint=model_fingerprint,
        text=first.rows.columns.text,
        text_pair=first.rows.columns.text_pair,
        label_names=first.label_names,
        scale=_scale(first),
        sizes=numbers(lambda split: len(split.lost)),
        tokens=numbers(lambda split: split.tokens),
        cut_texts=numbers(lambda split: split.cut_texts),
        removed=first.removed,
        pad_token_id=pad_token_id,
        model_width=architecture_of(load_config(model_folder, 2, pad_token_id)).width,
        baselines=study_baselines,
        findings=tuple(findings),
        parts={
            part: PreparedPart(fingerprint=fingerprints[part], sizes=splits.sizes, baselines=baselines[part])
            for part, splits in parts.items()
            if part != WHOLE
        },
    )
    write_json(folder / "audit.json", Audit(findings=prepared.findings).model_dump(mode="json"))
    write_json(folder / PREPARED, prepared.model_dump(mode="json"))


def _scale(splits: Splits) -> NumberScale:
    """Of the numbers that are trained on; that of classes and labels says nothing."""
    table = splits.rows.label_table
    if table is None or table.shape[1] > 1:
        return NumberScale()
    numbers = table[splits.labels("train"), 0]
    return NumberScale(mean=float(numbers.mean()), deviation=float(numbers.std()))


def rules_of(spec: StudySpec) -> tuple[LongTexts, ...]:
    """What is read of long texts: by the study, and then by arms that do otherwise."""
    own = [arm.long_texts for arm in spec.arms if arm.long_texts is not None]
    return tuple(dict.fromkeys([spec.data.long_texts, *own]))


def check_rules(rules: Sequence[LongTexts], text_pair: str | None) -> None:
    """Refuses what cannot be read of pairs of texts.

    Raises:
        UserError: for such a rule.
    """
    for rule in rules:
        if text_pair is not None and rule not in BY_TOKENIZER:
            raise UserError(
                f"long_texts = '{rule}' reads single texts, and these are pairs (with '{text_pair}'); choose "
                f"{' or '.join(BY_TOKENIZER)}"
            )


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
    backend.enable_truncation(length, strategy="longest_first", direction="right")
    return backend.to_str(), int(tokenizer.pad_token_id)
