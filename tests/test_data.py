"""From files to splits to tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conftest import REAL_DATA, Command, reviews, study_toml
from tuneoff.core.errors import UserError
from tuneoff.data.collect import collect_rows, loosened
from tuneoff.data.prepared import load_tokens
from tuneoff.data.sources.files import FilesData
from tuneoff.data.sources.reviews import ReviewsData
from tuneoff.data.splits import Splits, make_splits
from tuneoff.data.tokens import Tokens
from tuneoff.spec import DataSpec, load_study
from tuneoff.study.prepare import prepare_study


def split(folder: Path, spec: DataSpec) -> Splits:
    return make_splits(collect_rows(spec.open_tables(), spec, folder, print), spec)


def files(folder: Path, **parts: pd.DataFrame) -> dict[str, Any]:
    """Writes frames as files, for `FilesData`."""
    for name, frame in parts.items():
        frame.to_parquet(folder / f"{name}.parquet")
    return {"source": "files", **{name: str(folder / f"{name}.parquet") for name in parts}}


def study(folder: Path, model: Path, train: pd.DataFrame, test: pd.DataFrame) -> Path:
    """A study file over two frames."""
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    (folder / "study.toml").write_text(study_toml(model, folder, ["full"]))
    return folder / "study.toml"


def texts(splits: Splits, name: str) -> list[str]:
    return [text for table in splits.tables(name) for text in table.column("text").to_pylist()]


def test_a_split_column(tmp_path: Path) -> None:
    frame = reviews(40, seed=0).assign(part=["train"] * 30 + ["dev"] * 4 + ["test"] * 6)
    splits = split(tmp_path, FilesData(**files(tmp_path, train=frame), split="part"))
    assert splits.sizes == {"train": 30, "validation": 4, "test": 6}
    assert texts(splits, "test") == frame["text"].tolist()[-6:]


def test_the_bundled_reviews(tmp_path: Path) -> None:
    splits = split(tmp_path, ReviewsData())
    assert splits.sizes == {"train": 476, "validation": 98, "test": 826}
    kinds = {kind for table in splits.tables("test", ["breakdown"]) for kind in table.column("breakdown").to_pylist()}
    assert kinds >= {"open", "irony", "negation"}


def test_samples_are_stratified_disjoint_and_repeatable(tmp_path: Path) -> None:
    frame = reviews(400, seed=0).assign(label=["a"] * 300 + ["b"] * 100)
    spec = FilesData(**files(tmp_path, train=frame), train_size=100, validation_size=40, test_size=60)
    first, second = split(tmp_path, spec), split(tmp_path, spec)
    for name in first.sizes:
        assert first.labels(name).mean() == 0.25, name
        np.testing.assert_array_equal(first.members[name], second.members[name])
    assert first.sizes == {"train": 100, "validation": 40, "test": 60}
    assert len({text for name in first.sizes for text in texts(first, name)}) == 200
    other = split(tmp_path, spec.model_copy(update={"split_seed": 1}))
    assert set(texts(other, "train")) != set(texts(first, "train"))


@pytest.mark.parametrize(
    ("rows", "size", "sampling", "validation"),
    [
        (2500, 60, "stratified", 200),
        (300, 60, "stratified", 24),
        (300, 60, "first", 24),
        (300, 230, "stratified", 10),
        (2500, 1900, "stratified", 100),
    ],
    ids=["as many as are needed", "a tenth of all", "the first rows", "what is left", "what is left of many"],
)
def test_few_training_examples_leave_validation_as_large_as_it_is_of_use(
    rows: int, size: int, sampling: str, validation: int, tmp_path: Path
) -> None:
    spec = FilesData(**files(tmp_path, train=reviews(rows, seed=0)), train_size=size, sampling=sampling)
    assert split(tmp_path, spec).sizes == {"train": size, "validation": validation, "test": rows // 5}


def test_the_first_rows_are_taken_where_that_is_asked_for(tmp_path: Path) -> None:
    frame = reviews(400, seed=0)
    sizes = {"train_size": 100, "validation_size": 40, "test_size": 60}
    splits = split(tmp_path, FilesData(**files(tmp_path, train=frame), sampling="first", **sizes))
    assert texts(splits, "train") == frame["text"].tolist()[:100]
    assert texts(splits, "validation") == frame["text"].tolist()[100:140]
    assert texts(splits, "test") == frame["text"].tolist()[140:200]


def test_deduplication_leaves_no_repeats(tmp_path: Path) -> None:
    train, test = reviews(60, seed=0), reviews(40, seed=1, first_row=500)
    train = pd.concat([train, train.head(5)], ignore_index=True)
    test = pd.concat([test, test.head(3), train.head(4)], ignore_index=True)
    named = files(tmp_path, train=train, test=test)
    clean = split(tmp_path, FilesData(**named, deduplicate=True))
    assert clean.removed == {"train": 5, "test": 7}
    every = [text for name in clean.sizes for text in texts(clean, name)]
    assert len(every) == len(set(every)) == 100


def test_groups_stay_together_and_outlive_appended_rows(tmp_path: Path) -> None:
    frame = reviews(300, seed=0).assign(author=[f"author {row // 3}" for row in range(300)])
    spec = FilesData(**files(tmp_path, train=frame), group="author")
    splits = split(tmp_path, spec)
    owners = {name: {row // 3 for row in members.tolist()} for name, members in splits.members.items()}
    assert sum(map(len, owners.values())) == 100
    assert [len(owners[name]) for name in ("train", "validation", "test")] == pytest.approx([72, 8, 20], abs=2)
    more = reviews(90, seed=1, first_row=1000).assign(author=[f"new author {row}" for row in range(90)])
    longer = split(tmp_path, FilesData(**files(tmp_path, train=pd.concat([frame, more])), group="author"))
    for name, members in splits.members.items():
        np.testing.assert_array_equal(longer.members[name][longer.members[name] < 300], members)


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the IMDb files are not here")
def test_imdb_is_read_whole_and_sampled_by_class(tmp_path: Path) -> None:
    named = {"train": str(REAL_DATA / "imdb_train.parquet"), "test": str(REAL_DATA / "imdb_test.parquet")}
    sizes = {"train_size": 3000, "validation_size": 500, "test_size": 2000}
    splits = split(tmp_path, FilesData(source="files", deduplicate=True, **named, **sizes))
    assert len(splits.rows) == 50_000
    assert splits.sizes == {"train": 3000, "validation": 500, "test": 2000}
    for name in splits.sizes:
        assert splits.labels(name).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("labels", "test_labels", "message"),
    [
        (["a"] * 10, ["a"] * 5, "every label is 'a'"),
        (["a", "b"] * 5, ["a", "c", "a", "b", "a"], "'c' is in test but never in train"),
    ],
)
def test_labels_that_cannot_be_learnt(labels: list[str], test_labels: list[str], message: str, tmp_path: Path) -> None:
    train = reviews(10, seed=0).assign(label=labels)
    test = reviews(5, seed=1, first_row=100).assign(label=test_labels)
    with pytest.raises(UserError, match=message):
        split(tmp_path, FilesData(**files(tmp_path, train=train, test=test)))


def test_tokens_survive_the_disk_and_are_cut(tiny_model: Path, tmp_path: Path) -> None:
    rows = ["good film", "the plot was dull and very very long", "unheard"] * 20
    train = pd.DataFrame({"text": [f"{text} {row}" for row, text in enumerate(rows)], "label": [1, 0] * 30})
    test = reviews(4, seed=1, first_row=500)
    spec = load_study(study(tmp_path, tiny_model, train, test), ["data.max_length=6"])
    prepared = prepare_study(spec, tmp_path / "out", print)
    prepared.save()
    tokens = load_tokens(tmp_path / "out" / "data", "head")["train"]
    assert set(tokens.lengths.tolist()) == {4, 5, 6}
    assert prepared.prepared.cut_texts["train"] == int((tokens.lengths == 6).sum())
    assert set(tokens.ids[tokens.offsets[:-1]].tolist()) == {2}  # each starts with [CLS]
    assert tokens.labels.mean() == pytest.approx(0.5, abs=0.02)
    assert isinstance(tokens, Tokens)
    stored = pd.read_parquet(tmp_path / "out" / "data" / "train.parquet")
    assert len(stored) == len(tokens)
    assert stored["key"].nunique() == len(tokens)


def test_prepared_data_is_reused_by_other_studies(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEOFF_CACHE", str(tmp_path / "cache"))
    spec = load_study(study(tmp_path, tiny_model, reviews(60, seed=0), reviews(20, seed=1, first_row=500)))
    said: list[str] = []
    fingerprints = []
    for name in ("first", "second"):
        prepared = prepare_study(spec, tmp_path / name, said.append)
        prepared.save()
        fingerprints.append(prepared.prepared.fingerprint)
    reused, audited = said[-2:]
    assert [message for message in said if "before" in message] == [reused]
    assert audited == "The data's audit has 1 warning (unknown-tokens); `tuneoff audit` tells more"
    assert len(set(fingerprints)) == 1
    (entry,) = (tmp_path / "cache" / "data").iterdir()
    (entry / "train.parquet").write_bytes(b"damaged")
    prepare_study(spec, tmp_path / "third", said.append)
    assert "tokenising" in said[-2]


def test_pairs_are_told_apart(tiny_model: Path, tmp_path: Path) -> None:
    pairs = reviews(80, seed=0).assign(second=reviews(80, seed=3, first_row=900)["text"])
    path = study(tmp_path, tiny_model, pairs.head(60), pairs.tail(20))
    prepare_study(load_study(path, ["data.text_pair=second"]), tmp_path / "out", print).save()
    tokens = load_tokens(tmp_path / "out" / "data", "head")["train"]
    assert tokens.second_starts is not None
    separator = tokens.ids[tokens.offsets[1:] - 1]
    assert len(set(separator.tolist())) == 1
    np.testing.assert_array_equal(tokens.ids[tokens.offsets[:-1] + tokens.second_starts - 1], separator)
    assert (tokens.second_starts < tokens.lengths).all()


def test_texts_of_ascii_are_loosened_as_others_are() -> None:
    assert loosened(" A \tGood-ish film: 10/10!\x00") == "a good ish film 10 10"
    draw = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(map(chr, draw.integers(0, 128, 20)))
        assert loosened(f"{text} é") == f"{loosened(text)} é".strip()


def test_an_audit_error_leaves_nothing_behind(
    tuneoff: Command, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEOFF_CACHE", str(tmp_path / "cache"))
    train = reviews(60, seed=0)
    answer = tuneoff("run", study(tmp_path, tiny_model, train, train.head(20)), "--out", tmp_path / "out")
    assert answer.returncode == 2
    assert "test-in-train" in answer.stderr
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "cache" / "data").iterdir()) == []


def test_baselines_of_hundreds_of_classes_fit_into_memory(tiny_model: Path, tmp_path: Path) -> None:
    rows = [f"a film{row} of kind{row % 20} and sort{row % 300 // 20},class {row % 300}" for row in range(3000)]
    (tmp_path / "many.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "study.toml").write_text(
        f'name = "many"\nseeds = 1\nmodel.id = "{tiny_model}"\narms = [{{ method = "full" }}]\n'
        f'data = {{ source = "files", train = "{tmp_path / "many.csv"}", max_length = 16 }}\n'
    )
    prepared = prepare_study(load_study(tmp_path / "study.toml"), tmp_path / "out", print)
    assert (prepared.prepared.baselines["tfidf"].test_accuracy or 0) > 0.5
