"""What other packages add through entry points, installed for real: a module and its metadata on the path."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from conftest import Command, study_toml

DOCS = Path(__file__).parents[1] / "docs"


def guide(kind: str, language: str = "python") -> str:
    """The code of a guide, to the letter."""
    blocks: list[str] = re.findall(
        rf"```{language}\n(.*?)```", (DOCS / f"adding-{kind}.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return blocks[0]


def point_of(kind: str) -> tuple[str, str]:
    """The group and the entry point that a guide writes into a package's `pyproject.toml`, of the package made here."""
    ((group, points),) = tomllib.loads(guide(kind, "toml"))["project"]["entry-points"].items()
    ((name, target),) = points.items()
    return group, f"{name} = {target.replace('your_package', 'tuneoff_more')}"


METHOD, SOURCE = guide("a-method"), guide("a-data-source")
Install = Callable[[str, str, str], dict[str, str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Installs a package of one module that offers something under a name; returns the environment that has it."""

    def installed(code: str, group: str, point: str) -> dict[str, str]:
        folder = tmp_path / "site"
        metadata = folder / "tuneoff_more-1.0.dist-info"
        metadata.mkdir(parents=True, exist_ok=True)
        (folder / "tuneoff_more.py").write_text(code)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tuneoff-more\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
        return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}

    return installed


def test_a_method_of_another_package_is_an_arm_like_any(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    path = install(METHOD, *point_of("a-method"))
    listed = json.loads(tuneoff("methods", "--json", **path).stdout)
    assert listed["biases"]["summary"] == "trains the biases, and the head"
    assert [option["name"] for option in listed["biases"]["options"]] == [
        "learning_rate",
        "learning_rate_range",
        "suffix",
    ]
    study = tmp_path / "study.toml"
    arms = ["full", 'method = "biases"\nlearning_rate = 1e-3']
    study.write_text(study_toml(tiny_model, data_files, arms, seeds=1))
    summary = json.loads(tuneoff("run", study, "--out", tmp_path / "out", "--json", **path).stdout)["summary"]
    trained = {arm["arm"]: arm["trainable_parameters"] for arm in summary["arms"]}
    assert 0 < trained["biases"] < trained["full"] / 10
    answer = tuneoff("plan", study)
    assert answer.returncode == 2
    assert "unknown method 'biases'" in answer.stderr


@pytest.mark.parametrize(
    ("code", "point", "said"),
    [
        (
            "import nonsense_of_no_package",
            "biases = tuneoff_more:Biases",
            "of tuneoff-more cannot be loaded: ",
        ),
        ("Biases = print", "biases = tuneoff_more:Biases", "the method 'biases' of tuneoff-more is no ArmSpec"),
        (METHOD.replace('"biases"', '"lora"'), "other = tuneoff_more:Biases", "two methods are called 'lora': "),
    ],
    ids=["broken", "something-else", "name-taken"],
)
def test_what_cannot_be_used_is_said_in_one_line(
    code: str, point: str, said: str, install: Install, tuneoff: Command
) -> None:
    answer = tuneoff("methods", **install(code, "tuneoff.methods", point))
    assert answer.returncode == 2
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not answer.stdout


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


def test_a_data_source_of_another_package_is_a_source_like_any(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, database: Path, tmp_path: Path
) -> None:
    path = install(SOURCE, *point_of("a-data-source"))
    (tmp_path / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    answer = tuneoff("run", "study.toml", "--out", "out", **path)
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


@pytest.mark.long
def test_a_tracker_and_an_executor_of_another_package(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    (group, diary), (other_group, one_by_one) = point_of("a-tracker"), point_of("an-executor")
    code = guide("a-tracker") + guide("an-executor")
    path = install(code, group, f"{diary}\n[{other_group}]\n{one_by_one}")
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text(study_toml(tiny_model, data_files, ["head_only", "ia3"], seeds=1))
    beside = ("--set", "tracking.diary=true", "--executor", "one-by-one")
    for _ in range(2):  # what has been told is not told again
        answer = tuneoff("run", study, "--out", out, *beside, **path)
        assert answer.returncode == 0, answer.stderr
        *runs, end = (out / "diary.txt").read_text().splitlines()
        assert [line.split()[1:] for line in runs] == [["head_only", "ok"], ["ia3", "ok"]]
        assert len({line.split()[0] for line in runs}) == 2
        assert end == "tiny has ended"
    assert f"diary: {out / 'diary.txt'}" in answer.stdout
    assert len(list((out / "runs").iterdir())) == 2
    assert tuneoff("run", study, "--out", tmp_path / "plain").returncode == 0
    for run in (out / "runs").iterdir():  # what carries a run out decides nothing of its result
        results = [
            json.loads((folder / "runs" / run.name / "result.json").read_text()) for folder in (out, tmp_path / "plain")
        ]
        assert results[0]["predictions_sha256"] == results[1]["predictions_sha256"]
    for setting, said in (
        (
            "execution.executor=one-by-on",
            "execution.executor: unknown executor 'one-by-on'; did you mean 'one-by-one'?",
        ),
        ("tracking.dairy=true", "unknown field 'tracking.dairy'; did you mean 'diary'?"),
    ):
        answer = tuneoff("plan", study, "--set", setting, **path)
        assert answer.returncode == 2
        assert said in answer.stderr
    study.write_text(study.read_text().replace('name = "tiny"', 'name = "secret"'))
    answer = tuneoff("run", study, "--out", tmp_path / "hidden", *beside, **path)
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert "the study is secret" in answer.stderr
    assert not (tmp_path / "hidden").exists()
