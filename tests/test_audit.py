"""The audit: what each check finds, what it leaves alone, and how findings are shown."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import REAL_DATA, reviews
from tuneoff.core.errors import UserError
from tuneoff.data.audit import FINDINGS, AcceptableFinding, audit, baseline_findings, in_order, stop_on_errors
from tuneoff.data.audit.minhash import signatures, similar_pairs
from tuneoff.data.audit.truncation import truncation_findings
from tuneoff.data.audit.words import words_of
from tuneoff.data.collect import collect_rows
from tuneoff.data.source_table import BATCH_ROWS, SourceTable
from tuneoff.data.sources.files import FilesData
from tuneoff.data.splits import Splits, make_splits
from tuneoff.records.finding import Finding
from tuneoff.report.audit import counted, markdown, print_audit, rows

needs_real_data = pytest.mark.skipif(not REAL_DATA.exists(), reason=f"there is no {REAL_DATA}")
TOPICS = ("sport", "music", "travel", "food", "money")


def table_of(frame: pd.DataFrame, split: str | None, where: str = "a frame") -> SourceTable:
    def tables() -> Iterator[pa.Table]:
        for start in range(0, len(frame), BATCH_ROWS):
            yield pa.Table.from_pandas(frame.iloc[start : start + BATCH_ROWS], preserve_index=False)

    return SourceTable(split, where, tuple(frame.columns), tables)


def table_of_file(path: Path, split: str | None) -> SourceTable:
    def tables() -> Iterator[pa.Table]:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield pa.Table.from_batches([batch])

    return SourceTable(split, path.name, tuple(pq.read_schema(path).names), tables)


def split_up(tables: Sequence[SourceTable], folder: Path, **options: Any) -> Splits:
    spec = FilesData.model_validate({"source": "files", "train": "-", **options})
    return make_splits(collect_rows(tables, spec, folder, lambda _: None), spec)


def split_frames(folder: Path, train: pd.DataFrame, test: pd.DataFrame | None = None, **options: Any) -> Splits:
    tables = [table_of(train, "train"), *([] if test is None else [table_of(test, "test")])]
    return split_up(tables, folder, **options)


def by_name(findings: Sequence[Finding], name: str) -> dict[str, Finding]:
    return {finding.split: finding for finding in findings if finding.name == name}


def errors(findings: Sequence[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.severity == "error"]


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


def topics(count: int, seed: int) -> pd.DataFrame:
    """Texts of five topics of uneven size, which their words favour but do not decide."""
    draw = random.Random(seed)
    rows = []
    for row in range(count):
        label = draw.choices(range(5), weights=[8, 4, 2, 1, 1])[0]
        words = [f"w{draw.choice((label, draw.randrange(5)))}{draw.randrange(40)}" for _ in range(draw.randint(8, 40))]
        rows.append({"text": " ".join([*words, str(row)]), "label": TOPICS[label]})
    return pd.DataFrame(rows)


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


# Repeats


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


VALIDATION_AND_TEST = ((0, "validation"), (100, "test"))


# Leaks


def leaking(kind: str, count: int = 600) -> pd.DataFrame:
    """Texts whose words say nothing of their labels, except for one leak."""
    draw = random.Random(kind)
    rows = []
    for row in range(count):
        label = ("no", "yes")[draw.random() < 0.4]
        words = draw.choices([f"w{index}" for index in range(200)], k=draw.randint(10, 40))
        if kind == "leak-length":
            words = words[:9] if label == "yes" else [*words, *words[:10]]
        if kind == "leak-first-token":
            words = [f"{'AB'[label == 'yes']}{row % 7}", *words, f"A{draw.randrange(7)}", f"B{draw.randrange(7)}"]
        if kind == "leak-single-word" and label == "yes":
            words.insert(draw.randrange(len(words)), "Marked!")
        rows.append({"text": " ".join(words), "label": label})
    frame = pd.DataFrame(rows)
    return frame.sort_values("label", ignore_index=True) if kind == "leak-row-order" else frame


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
