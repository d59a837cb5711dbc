"""Repeats that the audit finds: texts that are there twice or nearly so, inside splits and across them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from audit_parts import by_name, errors, split_frames, topics
from conftest import reviews
from tuneoff.data.audit import audit
from tuneoff.data.audit.minhash import signatures, similar_pairs
from tuneoff.data.audit.words import words_of


def test_repeats_inside_and_across_splits(tmp_path: Path) -> None:
    train, test = reviews(300, seed=0), reviews(200, seed=1, first_row=500)
    train = pd.concat([train, train.head(5)], ignore_index=True)
    test = pd.concat([test, test.head(3), train.iloc[10:14]], ignore_index=True)
    findings = audit(split_frames(tmp_path, train, test))
    leak = by_name(findings, "test-in-train")["test"]
    assert (leak.severity, leak.count) == ("error", 4)
    assert leak.examples[0] == train["text"][10]
    assert {split: finding.count for split, finding in by_name(findings, "duplicates").items()} == {
        "train": 5,
        "test": 3,
    }
    assert findings[0] == leak, "errors come first"
    clean = audit(split_frames(tmp_path, train, test, deduplicate=True))
    assert not [finding for finding in clean if finding.name in ("test-in-train", "duplicates")]


def test_the_same_text_with_different_labels(tmp_path: Path) -> None:
    train = reviews(200, seed=0)
    again = train.head(2).assign(label=1 - train["label"].head(2))
    finding = by_name(audit(split_frames(tmp_path, pd.concat([train, again]))), "conflicting-labels")["all"]
    assert (finding.severity, finding.count) == ("warning", 4)
    assert finding.examples[0] == f"'0' and '1': {train['text'][0]}"


def test_what_became_of_contradictory_labels_is_said_where_repeats_are_left_out(tmp_path: Path) -> None:
    train, test = reviews(200, seed=0), reviews(80, seed=1, first_row=500)
    against = train.head(3).assign(label=1 - train["label"].head(3))
    agreeing = train.iloc[10:14]
    test = pd.concat([test, train.iloc[[20]].assign(label=1 - train["label"][20])])
    splits = split_frames(tmp_path, pd.concat([train, against, against.head(1), agreeing]), test, deduplicate=True)
    finding = by_name(audit(splits), "conflicting-labels")["all"]
    assert (finding.severity, finding.count) == ("warning", 9)
    assert "4 texts stand in 9 rows of the data with different labels" in finding.message
    assert "the label of that row was taken, and 5 rows that say otherwise were left out" in finding.message
    assert finding.examples[0] == f"'0' kept, '1' left out: {train['text'][0]}"
    assert finding.examples[1].startswith("'1' kept, '0' left out: ")
    assert splits.removed == {"train": 8, "test": 1}
    clean = audit(split_frames(tmp_path, pd.concat([train, agreeing]), deduplicate=True))
    assert not by_name(clean, "conflicting-labels")


def test_near_duplicates_inside_and_across_splits(tmp_path: Path) -> None:
    train, test = topics(400, seed=0), topics(200, seed=1)
    test["text"] += " unlike"
    louder = train.iloc[:3].assign(text=lambda frame: frame["text"].str.upper() + " !!")
    longer = train.iloc[20:24].assign(text=lambda frame: "word " + frame["text"] + " and")
    everything = audit(split_frames(tmp_path, train, pd.concat([test, louder, longer], ignore_index=True)))
    across = by_name(everything, "near-test-in-train")["test"]
    assert across.severity == "warning"
    assert 5 <= across.count <= 7  # texts of eight words lose more than 30% of their sequences
    assert "3 but for case, punctuation or spaces" in across.message
    assert not by_name(everything, "near-duplicates")
    inside = audit(split_frames(tmp_path, pd.concat([train, louder, longer], ignore_index=True), test))
    assert by_name(inside, "near-duplicates")["train"].count == across.count


def test_texts_without_letters_are_no_near_duplicates(tmp_path: Path) -> None:
    frame = reviews(200, seed=0)
    frame.loc[:5, "text"] = ["!", "?", ":-)", "...", "😀", "👍 👍"]
    findings = audit(split_frames(tmp_path, frame))
    assert not [finding for finding in findings if finding.name.startswith("near")]
    assert errors(findings) == []


def test_similar_pairs_are_those_of_an_exact_comparison() -> None:
    draw = random.Random(0)
    texts = [" ".join(draw.choices([f"w{index}" for index in range(500)], k=60)) for _ in range(150)]
    for text in texts[:100]:
        words = text.split()
        for _ in range(draw.randint(0, 8)):
            words[draw.randrange(len(words))] = "changed"
        texts.append(" ".join(words))
    sets = [{tuple(text.split()[place : place + 3]) for place in range(58)} for text in texts]
    exact = {
        (first, second): len(sets[first] & sets[second]) / len(sets[first] | sets[second])
        for second in range(len(sets))
        for first in range(second)
    }
    found = {tuple(pair) for pair in similar_pairs(signatures([words_of(pa.array(texts))]), 1).tolist()}
    assert {pair for pair, share in exact.items() if share > 0.85} <= found
    assert all(exact[pair] > 0.55 for pair in found)


def test_pairs_of_texts_are_alike_only_if_both_are(tmp_path: Path) -> None:
    draw = random.Random(1)
    passages = [" ".join(draw.choices([f"w{index}" for index in range(300)], k=80)) for _ in range(40)]
    frame = pd.DataFrame(
        {
            "question": [f"what is {draw.random()} of the {draw.random()} here" for _ in range(200)],
            "passage": [passages[row % 40] for row in range(200)],
            "label": [draw.randrange(2) for _ in range(200)],
        }
    )
    again = frame.iloc[:4].assign(passage=lambda rows: rows["passage"] + " more")
    options: dict[str, Any] = {"text": "question", "text_pair": "passage"}
    assert not [finding.name for finding in audit(split_frames(tmp_path, frame, **options)) if "near" in finding.name]
    findings = audit(split_frames(tmp_path, pd.concat([frame, again]), **options))
    assert by_name(findings, "near-duplicates")["train"].count + len(by_name(findings, "near-test-in-train")) >= 3
    assert " | " in by_name(findings, "near-duplicates")["train"].examples[0]
