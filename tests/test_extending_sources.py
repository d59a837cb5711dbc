"""Data sources of other packages, from the guide to them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from another_package import guide, point_of
from conftest import Command, Install, study_toml

SOURCE = guide("a-data-source")


@pytest.fixture
def database(data_files: Path, tmp_path: Path) -> Path:
    """The made-up reviews to train on, in an SQLite database."""
    path = tmp_path / "reviews.db"
    with closing(sqlite3.connect(path)) as connection:
        pd.read_csv(data_files / "train.csv").to_sql("reviews", connection, index_label="id")
    return path


def sqlite_study(model: Path, data_files: Path) -> str:
    """A study of one arm on rows that the guide's source finds."""
    files, sqlite = (f'train = "{data_files / "train.csv"}"\ntest = "{data_files / "test.csv"}"', SQLITE_FIELDS)
    toml = study_toml(model, data_files, ["head_only"], seeds=1).replace('source = "files"', 'source = "sqlite"')
    assert files in toml
    return toml.replace(files, sqlite)


SQLITE_FIELDS = 'file = "reviews.db"\nquery = "SELECT text, label FROM reviews ORDER BY id"'


@pytest.mark.long
def test_a_data_source_of_another_package_is_a_source_like_any(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, database: Path, tmp_path: Path
) -> None:
    path = install(SOURCE, *point_of("a-data-source"))
    (tmp_path / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    answer = tuneoff("run", "--no-report", "study.toml", "--out", "out", **path)
    assert answer.returncode == 0, answer.stderr
    kept = pd.concat(
        [pd.read_parquet(tmp_path / "out" / "data" / f"{name}.parquet") for name in ("train", "validation", "test")]
    ).sort_values("row")
    rows = pd.read_csv(data_files / "train.csv")
    assert kept["text"].tolist() == rows["text"].tolist()
    assert kept["label"].tolist() == rows["label"].tolist()
    assert set(kept["source_file"]) == {"reviews.db"}
    assert kept["source_row"].tolist() == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.querry=SELECT 1", "unknown field 'data.querry'; did you mean 'query'?"),
        ("data.file=", "data.file: string should have at least 1 character"),
        ("data.file=other.db", "data.file: there is no file 'other.db'"),
        ("data.query=SELECT text FROM nowhere", "data.query: no such table: nowhere"),
        ("data.query=SELECT text FROM reviews", "reviews.db: none of its columns (text) has a usual name"),
        ("data.source=sqlight", "data.source must be 'hub', 'files', 'sqlite' or 'reviews'"),
    ],
)
def test_what_is_wrong_with_a_source_of_another_package_is_said_in_one_line(
    setting: str, said: str, install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, database: Path
) -> None:
    (database.parent / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    answer = tuneoff("audit", "study.toml", "--set", setting, **install(SOURCE, *point_of("a-data-source")))
    assert answer.returncode == 2
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_source_of_a_package_that_is_not_installed_is_unknown(
    tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    answer = tuneoff("plan", "study.toml")
    assert answer.returncode == 2
    assert "data.source must be 'hub', 'files' or 'reviews'" in answer.stderr


def test_a_study_with_a_source_of_another_package_is_like_any_to_programs(
    install: Install, tiny_model: Path, data_files: Path, database: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    code = """import json, pickle, sqlite3, sys
from tuneoff.spec import load_study
spec = load_study(sys.argv[1])
copy = pickle.loads(pickle.dumps(spec))
assert "pyarrow" not in sys.modules and "torch" not in sys.modules
before = [spec.data.fingerprint(), copy.data.fingerprint()]
with sqlite3.connect(sys.argv[2]) as connection:
    connection.execute("UPDATE reviews SET text = 'quite another text' WHERE id = 7")
found = {"equal": copy == spec, "toml": copy.to_toml(), "before": before, "after": spec.data.fingerprint()}
print(json.dumps(found | {"class": type(copy.data).__name__}))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "study.toml", database],
        cwd=tmp_path,
        env={**os.environ, **install(SOURCE, *point_of("a-data-source"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["equal"]
    assert found["class"] == "SqliteData"
    data = tomllib.loads(found["toml"])["data"]
    assert (data["source"], data["file"], data["sampling"]) == ("sqlite", "reviews.db", "stratified")
    assert found["before"][0] == found["before"][1] != found["after"]
