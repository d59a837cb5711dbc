"""Sources, splits, the audit and tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import REAL_DATA, reviews
from tuneoff.data.audit import audit, stop_on_errors
from tuneoff.data.sources import RawData, load_source
from tuneoff.data.splits import make_splits
from tuneoff.data.tokens import Tokens, tokenise
from tuneoff.errors import UserError
from tuneoff.models.load import load_tokenizer
from tuneoff.spec import FilesData, ReviewsData

WRITERS: dict[str, Any] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_file_format_reads_the_same(suffix: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"review": ['He said "no",\nthen yes', "café ☕ <b>", "plain"], "stars": ["b", "a", "b"]})
    WRITERS[suffix](frame, tmp_path / f"train.{suffix}")
    spec = FilesData(source="files", train=str(tmp_path / f"train.{suffix}"), text="review", label="stars")
    raw = load_source(spec)
    assert raw.train["text"].tolist() == frame["review"].tolist()
    assert raw.train["label"].tolist() == frame["stars"].tolist()
    assert raw.test is None


def test_a_split_column(tmp_path: Path) -> None:
    frame = reviews(40, seed=0).assign(part=["train"] * 30 + ["dev"] * 4 + ["test"] * 6)
    frame.to_csv(tmp_path / "all.csv", index=False)
    splits = make_splits(*_loaded(FilesData(source="files", train=str(tmp_path / "all.csv"), split="part")))
    assert {name: len(part) for name, part in splits.items()} == {"train": 30, "validation": 4, "test": 6}


def test_the_bundled_reviews() -> None:
    splits = make_splits(*_loaded(ReviewsData()))
    assert {name: len(part) for name, part in splits.items()} == {"train": 1002, "validation": 102, "test": 296}
    assert set(splits.test["breakdown"]) >= {"open", "irony", "negation"}
    assert audit(splits) == []


def test_samples_are_stratified_disjoint_and_repeatable() -> None:
    frame = reviews(400, seed=0)
    frame["label"] = ["a"] * 300 + ["b"] * 100
    spec = FilesData(source="files", train="-", train_size=100, validation_size=40, test_size=60)
    first, second = (make_splits(RawData(frame, None, None), spec) for _ in range(2))
    for name, part in first.items():
        assert part["label"].mean() == 0.25, name
        assert part.equals(getattr(second, name))
    texts = [set(part["text"]) for _, part in first.items()]
    assert [len(part) for part in texts] == [100, 40, 60]
    assert len(set.union(*texts)) == 200


def test_deduplication_leaves_no_repeats() -> None:
    train, test = reviews(60, seed=0), reviews(40, seed=1, first_row=500)
    train = pd.concat([train, train.head(5)], ignore_index=True)
    test = pd.concat([test, test.head(3), train.head(4)], ignore_index=True)
    raw = RawData(train, None, test)
    leaky = make_splits(raw, FilesData(source="files", train="-"))
    finding = next(finding for finding in audit(leaky) if finding.split == "test")
    assert (finding.name, finding.severity) == ("test-in-train", "error")
    with pytest.raises(UserError, match="deduplicate = true"):
        stop_on_errors(audit(leaky))
    stop_on_errors(audit(leaky, accept=["test-in-train"]))
    clean = make_splits(raw, FilesData(source="files", train="-", deduplicate=True))
    assert audit(clean) == []
    assert clean.removed == {"train": 5, "test": 7}
    assert len(clean.test) == 40


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the IMDb files are not here")
def test_imdb_repeats_reviews_and_deduplication_removes_them() -> None:
    files = {"train": str(REAL_DATA / "imdb_train.parquet"), "test": str(REAL_DATA / "imdb_test.parquet")}
    sizes = {"train_size": 3000, "validation_size": 500, "test_size": 2000}
    leaky = make_splits(*_loaded(FilesData(source="files", **files)))
    assert {finding.name for finding in audit(leaky)} == {"test-in-train"}
    clean = make_splits(*_loaded(FilesData(source="files", deduplicate=True, **files, **sizes)))
    assert audit(clean) == []
    assert {name: part["label"].mean() for name, part in clean.items()} == pytest.approx(
        {"train": 0.5, "validation": 0.5, "test": 0.5}, abs=0.01
    )


@pytest.mark.parametrize(
    ("labels", "test_labels", "message"),
    [
        (["a"] * 10, ["a"] * 5, "every label is 'a'"),
        (["a", "b"] * 5, ["a", "c", "a", "b", "a"], "'c' is in test but never in train"),
    ],
)
def test_labels_that_cannot_be_learnt(labels: list[str], test_labels: list[str], message: str) -> None:
    train = reviews(10, seed=0).assign(label=labels)
    test = reviews(5, seed=1, first_row=100).assign(label=test_labels)
    with pytest.raises(UserError, match=message):
        make_splits(RawData(train, None, test), FilesData(source="files", train="-"))


def test_tokens_survive_the_disk(tiny_model: Path, tmp_path: Path) -> None:
    texts = ["good film", "the plot was dull and very very long", "unheard"]
    tokens, cut = tokenise(texts, [1, 0, 1], load_tokenizer(tiny_model), max_length=6)
    tokens.save(tmp_path)
    stored = Tokens.load(tmp_path)
    assert stored.lengths.tolist() == [4, 6, 3]
    assert cut == 1
    for name, array in vars(tokens).items():
        np.testing.assert_array_equal(getattr(stored, name), array)
    assert stored.ids[stored.offsets[0]] == stored.ids[stored.offsets[1]] == 2  # each starts with [CLS]


def _loaded(spec: Any) -> tuple[RawData, Any]:
    return load_source(spec), spec
