"""Leaks that the audit finds: words, lengths, punctuation and the order of rows that give labels away."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from audit_parts import by_name, errors, leaking, shuffled, split_frames, topics
from tuneoff.core.errors import UserError
from tuneoff.data.audit import audit, stop_on_errors


@pytest.mark.parametrize("kind", ["leak-length", "leak-first-token", "leak-single-word"])
def test_a_planted_leak_is_found_and_no_other(kind: str, tmp_path: Path) -> None:
    findings = audit(split_frames(tmp_path, leaking(kind)))
    assert errors(findings) == [kind]
    finding = by_name(findings, kind)["all"]
    assert "of validation and test" in finding.message
    assert finding.examples
    with pytest.raises(UserError, match=kind):
        stop_on_errors(findings)
    stop_on_errors(audit(split_frames(tmp_path, leaking(kind)), accept=[kind]))
    assert not [name.name for name in audit(split_frames(tmp_path, leaking("none"))) if name.name.startswith("leak")]


def test_the_word_that_leaks_is_named(tmp_path: Path) -> None:
    finding = by_name(audit(split_frames(tmp_path, leaking("leak-single-word"))), "leak-single-word")["all"]
    assert finding.examples[0] in ("'marked' stands for 'yes'", "'marked!' stands for 'yes'")


def test_a_leak_of_uneven_classes_is_found(tmp_path: Path) -> None:
    frame = leaking("leak-single-word", 3000)
    rare = frame[frame["label"] == "yes"].head(150)
    frame = shuffled(pd.concat([frame[frame["label"] == "no"], rare]))
    assert errors(audit(split_frames(tmp_path, frame))) == ["leak-single-word"]


def test_punctuation_that_leaks_is_found(tmp_path: Path) -> None:
    frame = leaking("none")
    frame.loc[frame["label"] == "yes", "text"] += " ###"
    assert errors(audit(split_frames(tmp_path, frame))) == ["leak-single-word"]


def test_words_for_several_classes(tmp_path: Path) -> None:
    frame = topics(2000, seed=3)
    each = frame.assign(text=frame["text"] + " topic-" + frame["label"])
    assert errors(audit(split_frames(tmp_path, each))) == ["leak-single-word"]
    one = frame.assign(text=frame["text"].where(frame["label"] != "music", frame["text"] + " tagged"))
    findings = audit(split_frames(tmp_path, one))
    finding = by_name(findings, "leak-single-word")["all"]
    assert finding.severity == "warning"
    assert finding.examples == ("'tagged' stands for 'music'",)
    assert errors(findings) == []


def test_row_order_is_a_warning_unless_splits_are_cut_out_of_it(tmp_path: Path) -> None:
    frame = leaking("leak-row-order")
    findings = audit(split_frames(tmp_path, frame))
    assert by_name(findings, "leak-row-order")["train"].severity == "warning"
    assert errors(findings) == []
    others = shuffled(leaking("none"))
    cut = audit(split_frames(tmp_path, frame, others, sampling="first", train_size=400, validation_size=60))
    assert by_name(cut, "leak-row-order")["validation"].severity == "error"
    assert errors(cut)[-1] == "leak-row-order"
