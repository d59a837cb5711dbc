"""Rows keep the numbers that they have in the user's files, whatever is done to them; texts are cut between words."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import tuneoff as api
from conftest import reviews
from tuneoff.core.texts import shortened
from tuneoff.study.prepare import prepare_study


def _prepared(model: Path, folder: Path, data: str) -> pd.DataFrame:
    """All rows of a study's prepared splits."""
    study = (
        f'name = "rows"\nseeds = 1\n[model]\nid = "{model}"\n[data]\nmax_length = 16\n{data}\n[[arms]]\nmethod = "full"'
    )
    (folder / "study.toml").write_text(study)
    prepare_study(api.load_study(folder / "study.toml"), folder / "out", lambda _: None).save()
    splits = sorted((folder / "out" / "data").rglob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in splits if "fold" not in path.parts[-2]])


def test_rows_of_several_files_with_repeats_and_folds(tiny_model: Path, tmp_path: Path) -> None:
    frames = {"part-1": reviews(70, seed=1), "part-2": reviews(50, seed=2, first_row=500)}
    frames["part-2"] = pd.concat([frames["part-1"].iloc[:6], frames["part-2"]], ignore_index=True)
    for name, frame in frames.items():
        lines = frame.to_csv(index=False).splitlines()
        (tmp_path / f"{name}.csv").write_text("\n".join([*lines[:9], "", *lines[9:]]) + "\n")  # a blank line is no row
    files = f'source = "files"\ntrain = "{tmp_path}/part-*.csv"\ndeduplicate = true\nfolds = 3'
    rows = _prepared(tiny_model, tmp_path, files)
    assert len(rows) == 120
    assert rows["source_file"].nunique() == 2
    for row in rows.to_dict("records"):
        frame = frames[Path(row["source_file"]).stem]
        assert frame["text"][row["source_row"] - 1] == row["text"]
    second = rows[rows["source_file"].str.endswith("part-2.csv")]
    assert second["source_row"].min() == 7  # the first six repeat rows of the other file


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_rows_of_one_file_with_a_split_column(tiny_model: Path, tmp_path: Path, ending: str) -> None:
    frame = reviews(90, seed=3).assign(split=["train", "test", "validation"] * 30)
    path = tmp_path / f"all.{ending}"
    if ending == "jsonl":
        path.write_text("\n" + frame.to_json(orient="records", lines=True))
    else:
        frame.to_parquet(path)
    rows = _prepared(tiny_model, tmp_path, f'source = "files"\ntrain = "{path}"\nsplit = "split"\ntest_size = 20')
    assert set(rows["source_file"]) == {str(path)}
    assert frame["text"][rows["source_row"] - 1].tolist() == rows["text"].tolist()


def test_the_bundled_reviews_have_classes_with_names_and_rows(tmp_path: Path, tiny_model: Path) -> None:
    rows = _prepared(tiny_model, tmp_path, 'source = "reviews"')
    bundled = pd.read_json(Path(api.__file__).parent / "data" / "reviews.jsonl", lines=True)
    assert bundled["text"][rows["source_row"] - 1].tolist() == rows["text"].tolist()
    assert set(rows["source_file"]) == {"the bundled reviews"}
    spec = api.load_study(tmp_path / "study.toml")
    prepared = prepare_study(spec, tmp_path / "out", lambda _: None).prepared
    assert prepared.label_names == ("negative", "positive")
    assert bundled["label"][rows["source_row"] - 1].tolist() == rows["label"].tolist()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a few words", "a few words"),
        ("The ghost moves a chair, and leaves", "The ghost moves a …"),
        ("The ghost moves a ch", "The ghost moves a ch"),
        ("Donaudampfschifffahrtsgesellschaft", "Donaudampfschifffa …"),
        ("一二三四五六七八九十" * 3, "一二三四五六七八九十一二三四五六七八 …"),
    ],
)
def test_texts_are_cut_between_words(text: str, shown: str) -> None:
    assert shortened(text, 20) == shown


def test_the_audit_names_the_rows_of_files(tiny_model: Path, tmp_path: Path) -> None:
    frames = {name: reviews(60, seed=seed, first_row=100 * seed) for seed, name in enumerate(("one", "two"))}
    frames["two"].loc[4, "text"] = "the film was good " * 30
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    _prepared(tiny_model, tmp_path, f'source = "files"\ntrain = "{tmp_path}/*.csv"')
    findings = json.loads((tmp_path / "out" / "data" / "audit.json").read_text())["findings"]
    cut = [finding["examples"][0] for finding in findings if finding["name"] == "truncation"]
    assert any(example.startswith(f"row 5 of {tmp_path / 'two.csv'} lost ") for example in cut)
