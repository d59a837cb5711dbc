"""The audit: what each check finds, what it leaves alone, and how findings are shown."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from audit_parts import by_name, errors, leaking, shuffled, split_frames, split_up, table_of, table_of_file, topics
from conftest import REAL_DATA, reviews
from tuneoff.core.errors import UserError
from tuneoff.data.audit import FINDINGS, AcceptableFinding, audit, baseline_findings, in_order, stop_on_errors
from tuneoff.data.audit.truncation import truncation_findings
from tuneoff.records.finding import Finding
from tuneoff.report.audit import counted, markdown, print_audit, rows

needs_real_data = pytest.mark.skipif(not REAL_DATA.exists(), reason=f"there is no {REAL_DATA}")
VALIDATION_AND_TEST = ((0, "validation"), (100, "test"))


# Clean sets


@pytest.mark.parametrize("make", [reviews, topics])
def test_synthetic_sets_raise_no_error_and_no_leak(make: Any, tmp_path: Path) -> None:
    findings = audit(split_frames(tmp_path, shuffled(make(1500, seed=1)), deduplicate=True))
    assert errors(findings) == []
    assert not [finding for finding in findings if finding.name.startswith("leak")]


def test_the_bundled_reviews_raise_no_error_and_no_warning(tmp_path: Path) -> None:
    import tuneoff.data

    frame = pd.read_json(Path(str(tuneoff.data.__file__)).with_name("reviews.jsonl"), lines=True)
    findings = audit(split_up([table_of(frame, None)], tmp_path, split="split"))
    assert {finding.severity for finding in findings} == {"info"}
    assert {finding.name for finding in findings} == {"class-balance", "length-by-class", "other-columns"}


@needs_real_data
def test_rotten_tomatoes_raises_no_error(tmp_path: Path) -> None:
    findings = audit(split_up([table_of_file(REAL_DATA / "rotten_tomatoes.parquet", None)], tmp_path, split="split"))
    assert errors(findings) == []
    assert not [finding for finding in findings if finding.name.startswith("leak")]
    assert by_name(findings, "encoding-damage")["train"].count == 159
    assert "clÃ¡sico" in by_name(findings, "encoding-damage")["train"].examples[0]


# IMDb


@pytest.mark.wide
@needs_real_data
def test_full_imdb_repeats_reviews_and_deduplication_removes_them(tmp_path: Path) -> None:
    tables = [table_of_file(REAL_DATA / f"imdb_{split}.parquet", split) for split in ("train", "test")]
    splits = split_up(tables, tmp_path)
    began = time.monotonic()
    findings = audit(splits)
    assert time.monotonic() - began < 60
    assert errors(findings) == ["test-in-train"]
    assert by_name(findings, "test-in-train")["test"].count == 123
    assert {split: finding.count for split, finding in by_name(findings, "duplicates").items()} == {
        "train": 96,
        "test": 199,
    }
    near = by_name(findings, "near-duplicates")
    assert near["train"].count == 23
    assert near["test"].count == 17
    assert by_name(findings, "near-test-in-train")["test"].count == 1
    # Sorted by label, which sampling by class and shuffling make harmless.
    assert by_name(findings, "leak-row-order")["train"].severity == "warning"
    with pytest.raises(UserError, match=r"test-in-train.*data\.deduplicate = true"):
        stop_on_errors(findings)

    clean = audit(split_up(tables, tmp_path, deduplicate=True))
    assert errors(clean) == []
    assert not by_name(clean, "duplicates")
    assert not [finding for finding in clean if finding.name.startswith("leak") and finding.name != "leak-row-order"]
    assert by_name(clean, "near-duplicates")["train"].count == 23


@needs_real_data
def test_the_head_of_a_sorted_file_is_stopped_and_explained(tmp_path: Path) -> None:
    tables = [table_of_file(REAL_DATA / f"imdb_{split}.parquet", split) for split in ("train", "test")]
    splits = split_up(tables, tmp_path, sampling="first", train_size=1000, test_size=500)
    findings = audit(splits)
    assert set(by_name(findings, "one-class-split")) == {"train", "validation", "test"}
    with pytest.raises(UserError, match=r"sorted by label are cut at the front.*scores 100%"):
        stop_on_errors(findings)
    accepted = audit(splits, accept=["one-class-split"])
    stop_on_errors(accepted)
    assert {finding.name for finding in accepted if finding.accepted} == {"one-class-split"}


# Classes


def test_a_rare_class_and_a_missing_one(tmp_path: Path) -> None:
    train = reviews(400, seed=0)
    train["label"] = ["common"] * 394 + ["rare"] * 6
    test = reviews(50, seed=1, first_row=900).assign(label="common")
    validation = reviews(50, seed=2, first_row=800)
    validation["label"] = ["common"] * 49 + ["rare"]
    tables = [table_of(train, "train"), table_of(validation, "validation"), table_of(test, "test")]
    findings = audit(split_up(tables, tmp_path))
    balance = by_name(findings, "class-balance")
    assert balance["train"].severity == "warning"
    assert balance["train"].count == 6
    assert "'rare' 6 (1.5%)" in balance["train"].message
    assert balance["validation"].severity == balance["test"].severity == "info"
    assert by_name(findings, "one-class-split")["test"].severity == "error"

    test.loc[:9, "label"] = "third"
    train.loc[:19, "label"] = "third"
    tables = [table_of(train, "train"), table_of(validation, "validation"), table_of(test, "test")]
    missing = by_name(audit(split_up(tables, tmp_path)), "missing-class")
    assert set(missing) == {"validation", "test"}
    assert "'third'" in missing["validation"].message
    assert "'rare'" in missing["test"].message


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_of_one_example_is_an_error(split: str, tmp_path: Path) -> None:
    sizes = {"validation": 40, "test": 40, split: 1}
    held = [table_of(reviews(sizes[name], at, 500 + at), name) for at, name in VALIDATION_AND_TEST]
    findings = audit(split_up([table_of(reviews(100, seed=3), "train"), *held], tmp_path))
    assert errors(findings) == ["one-class-split"]
    assert f"{split} has a single example, with the label '0'" in by_name(findings, "one-class-split")[split].message
    assert not by_name(findings, "missing-class")
    stop_on_errors(audit(split_up([table_of(reviews(100, seed=3), "train"), *held], tmp_path), ["one-class-split"]))


# Texts


def test_empty_texts(tmp_path: Path) -> None:
    train, test = reviews(400, seed=0), reviews(100, seed=1, first_row=600)
    train.loc[[7], "text"] = " \t\n"
    test.loc[[3, 5], "text"] = ["", "\u00a0"]
    findings = by_name(audit(split_frames(tmp_path, train, test, validation_size=20)), "empty-text")
    assert (findings["test"].severity, findings["test"].count) == ("error", 2)
    held = "train" if "train" in findings else "validation"
    assert findings[held].count == 1
    assert findings[held].examples == ("row 8 of a frame",)


def test_empty_second_texts_are_told_from_first_ones(tmp_path: Path) -> None:
    frame = reviews(200, seed=0).assign(second=reviews(200, seed=1, first_row=600)["text"])
    frame.loc[range(0, 40), "second"] = " "
    options: dict[str, Any] = {"text": "text", "text_pair": "second"}
    found = [finding for finding in audit(split_frames(tmp_path, frame, **options)) if finding.name == "empty-text"]
    assert sum(finding.count for finding in found) == 40
    for finding in found:
        assert f"second texts of {finding.split}" in finding.message
        assert "data.text_pair" in finding.advice
    frame.loc[range(0, 40), ["text", "second"]] = [" ", "there"]
    found = [finding for finding in audit(split_frames(tmp_path, frame, **options)) if finding.name == "empty-text"]
    assert sum(finding.count for finding in found) == 40
    assert all("second" not in finding.message and "data.text," in finding.advice for finding in found)


def test_damaged_encodings_and_html(tmp_path: Path) -> None:
    frame = reviews(300, seed=0)
    damage = [
        "un café".encode().decode("latin-1"),
        "â€œquotedâ€\x9d",
        "a \ufffd b",
        "bell \x07",
        "nul \x00 \x1b[31mred",
    ]
    fine = ["NÃO, Âme, GUÐRÚN", "x < y and y > z, R&D", "tab\tand\nline", "Привет, 你好, हिन्दी", "“quotes” – dash…"]
    tags = ["one<br />two", "<p class='a'>text</p>", "Tom &amp; Jerry", "<SCRIPT>alert(1)</script>"]
    frame.loc[: len(damage + fine + tags) - 1, "text"] = damage + fine + tags
    tables = [table_of(frame, "train"), *(table_of(reviews(40, 1, 500 + at), name) for at, name in VALIDATION_AND_TEST)]
    findings = audit(split_up(tables, tmp_path))
    assert by_name(findings, "encoding-damage")["train"].count == len(damage)
    assert by_name(findings, "html-remnants")["train"].count == len(tags)
    assert by_name(findings, "html-remnants")["train"].severity == "info"
    shown = [example for finding in findings for example in finding.examples]
    assert all(len(example) <= 200 and example.isprintable() for example in shown)


# What comes after tokens and scores


def test_truncation_says_what_is_lost_and_of_which_class(tmp_path: Path) -> None:
    frame = leaking("none", 500)
    splits = split_frames(tmp_path, frame)
    labels = splits.labels("train")
    lost = {name: np.zeros(size, dtype=np.int32) for name, size in splits.sizes.items()}
    lost["train"][np.flatnonzero(labels == 1)[:100]] = 30
    lost["test"][0] = 5
    train, test = truncation_findings(splits, "head", lost, {"train": 12_000, "validation": 900, "test": 3000})
    assert (train.severity, train.count, train.split) == ("warning", 100, "train")
    assert "3,000 of 15,000 tokens (20.0%)" in train.message
    assert f"'yes' {100 * 100 / (labels == 1).sum():.1f}%, 'no' 0.0%" in train.message
    assert (test.severity, test.count) == ("info", 1)
    (example,) = test.examples  # of the one text that was cut
    assert example.endswith("lost 5 tokens")


def test_truncation_of_pairs_names_both_columns(tmp_path: Path) -> None:
    frame = reviews(100, seed=0).assign(second=reviews(100, seed=1, first_row=300)["text"])
    splits = split_frames(tmp_path, frame, text="text", text_pair="second")
    (found,) = truncation_findings(
        splits, "head", {"test": np.ones(splits.sizes["test"], dtype=np.int32)}, {"test": 100}
    )
    assert "test texts ('text' and 'second' together)" in found.message


def test_baselines_that_leave_no_room() -> None:
    baselines = [("majority class", 0.5), ("TF-IDF + logistic regression", 0.98)]
    assert [finding.name for finding in baseline_findings(baselines)] == ["baseline-high"]
    assert [finding.name for finding in baseline_findings(baselines, ("lora", 0.99))] == [
        "baseline-high",
        "baseline-near-best",
    ]
    assert [finding.name for finding in baseline_findings(baselines[:1], ("lora", 0.52))] == []
    better = baseline_findings(baselines[:1], ("lora", 0.4))
    assert "is as good as the best arm, lora" in better[0].message


# Names and formats


def test_names_are_known_and_light_to_import() -> None:
    assert set(get_args(AcceptableFinding)) <= set(FINDINGS)
    code = (
        "import sys; from tuneoff.data.audit import FINDINGS; "
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_findings_are_shown_without_acting_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "<script>alert(1)</script> [bold]x[/bold] | `code` *star*"
    findings = [
        Finding(name="html-remnants", severity="info", split="train", count=2000, message="m", advice="a"),
        Finding(
            name="test-in-train",
            severity="error",
            split="test",
            count=1,
            message="seen before.",
            advice="Remove.",
            examples=(nasty,),
            accepted=True,
        ),
    ]
    shown = in_order(findings)
    assert rows(shown)[0] == ("error (accepted)", "test-in-train", "test", "1", "seen before.", "Remove.")
    assert counted(shown) == "1 error, no warnings, 1 for information. 1 accepted by the study file."
    written = markdown(shown)
    assert "<script" not in written
    assert "`code`" not in written
    assert written.splitlines()[0] == r"- **error (accepted)** `test-in-train` (test): seen before. Remove."
    print_audit(shown)
    printed = capsys.readouterr().out
    assert nasty in printed
    assert "2,000" in printed
    print_audit([])
    assert capsys.readouterr().out.strip() == "no errors, no warnings, 0 for information."


def test_a_finding_is_the_same_in_every_run(tmp_path: Path) -> None:
    frame = pd.concat([topics(300, seed=0), topics(5, seed=0).assign(text=lambda rows: rows["text"] + " end")])
    assert audit(split_frames(tmp_path, frame)) == audit(split_frames(tmp_path, frame))
