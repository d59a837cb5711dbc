"""Cross-validation: how rows are dealt to folds, what is refused, and a study from the plan to the summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tuneoff as api
from conftest import Command, reviews, study_toml
from stored import dictionaries
from tuneoff.core.errors import UserError
from tuneoff.data.collect import collect_rows
from tuneoff.data.conventions import SPLITS
from tuneoff.data.parts import make_parts
from tuneoff.data.prepared import load_tokens
from tuneoff.data.sources.files import FilesData
from tuneoff.data.sources.hub import HubData
from tuneoff.data.splits import Splits
from tuneoff.data.tokens import Tokens

ARMS = ["full", "head_only"]
FOLDS = 3


def deal(folder: Path, frame: pd.DataFrame, folds: int, **options: Any) -> dict[str, Splits]:
    """The folds of a frame's rows."""
    frame.to_parquet(folder / "rows.data.parquet")
    spec = FilesData(source="files", train=str(folder / "rows.data.parquet"), folds=folds, **options)
    return make_parts(collect_rows(spec.open_tables(), spec, folder, print), spec)


def study(folder: Path, model: Path, frame: pd.DataFrame, seeds: int = 2) -> Path:
    """A study file with folds."""
    frame.to_csv(folder / "train.csv", index=False)
    toml = study_toml(model, folder, ARMS, seeds=seeds, epochs=1)
    (folder / "study.toml").write_text(toml.replace(f'test = "{folder / "test.csv"}"', f"folds = {FOLDS}"))
    return folder / "study.toml"


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study: two arms, two seeds, three folds of 62 rows."""
    folder = tmp_path_factory.mktemp("folds")
    results = api.run_study(
        api.load_study(study(folder, tiny_model, reviews(62, seed=3))), folder / "out", report=False
    )
    assert results.failed == []
    return folder / "out"


def test_every_row_is_tested_once_and_classes_keep_their_shares(tmp_path: Path) -> None:
    frame = reviews(300, seed=0).assign(label=["a", "a", "b"] * 100)
    parts = deal(tmp_path, frame, 5)
    assert list(parts) == [f"fold-{fold}" for fold in range(5)]
    tested = np.concatenate([splits.members["test"] for splits in parts.values()])
    np.testing.assert_array_equal(np.sort(tested), np.arange(300))
    for splits in parts.values():
        assert splits.sizes == {"train": 216, "validation": 24, "test": 60}
        assert len(np.unique(np.concatenate(list(splits.members.values())))) == 300
        assert splits.labels("test").mean() == pytest.approx(1 / 3)
    other = deal(tmp_path, frame, 5, split_seed=1)
    assert not np.array_equal(other["fold-0"].members["test"], parts["fold-0"].members["test"])


def test_folds_outlive_appended_rows(tmp_path: Path) -> None:
    frame = reviews(103, seed=0)
    parts = deal(tmp_path, frame, 4)
    longer = deal(tmp_path, pd.concat([frame, reviews(40, seed=1, first_row=500)]), 4)
    for part, splits in parts.items():
        for name in SPLITS:
            members = longer[part].members[name]
            np.testing.assert_array_equal(members[members < 103], splits.members[name])


@pytest.mark.parametrize("options", [{}, {"group": "author"}])
def test_what_belongs_together_is_in_one_fold(options: dict[str, str], tmp_path: Path) -> None:
    frame = reviews(120, seed=0).assign(author=[f"author {row // 4}" for row in range(120)])
    if not options:
        frame["text"] = [f"text {row // 4}" for row in range(120)]
    parts = deal(tmp_path, frame, 5, **options)
    for splits in parts.values():
        of_split = [{row // 4 for row in splits.members[name].tolist()} for name in SPLITS]
        assert sum(map(len, of_split)) == 30
        assert all(of_split)


def test_train_and_validation_sizes_hold_in_every_fold(tmp_path: Path) -> None:
    for splits in deal(tmp_path, reviews(120, seed=0), 3, train_size=30, validation_size=10).values():
        assert splits.sizes == {"train": 30, "validation": 10, "test": 40}


@pytest.mark.parametrize(
    ("labels", "folds", "message"),
    [
        (["a"] * 20 + ["b"] * 20 + ["c"], 4, "would train on no example of 'c', which has 1 texts or groups"),
        (["a", "b"] * 3, 20, "would have no test example: there are 6 texts or groups"),
    ],
)
def test_folds_that_cannot_be_dealt(labels: list[str], folds: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        deal(tmp_path, reviews(len(labels), seed=0).assign(label=labels), folds)


def test_a_class_may_be_missing_in_a_test_fold(tmp_path: Path) -> None:
    parts = deal(tmp_path, reviews(42, seed=0).assign(label=["a"] * 20 + ["b"] * 20 + ["c"] * 2), 4)
    rare = [int((splits.labels("test") == 2).sum()) for splits in parts.values()]
    assert sorted(rare) == [0, 0, 1, 1]
    assert all((splits.labels("train") == 2).any() for splits in parts.values())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("folds = 3\ntest_size = 10", "folds and test_size cannot be used together"),
        ("folds = 3\ntrain_sizes = [10, 20]", "folds and train_sizes cannot be used together"),
        ('folds = 3\nsampling = "first"', "folds are drawn by class"),
        ("folds = 1", "greater than or equal to 2"),
        ('folds = 3\ntest = "test.csv"', "there are 10 rows for test already"),
        ('folds = 3\nsplit = "part"', "there are 20 rows for test already"),
    ],
)
def test_what_folds_do_not_go_together_with(
    lines: str, message: str, tuneoff: Command, tiny_model: Path, tmp_path: Path
) -> None:
    reviews(60, seed=0).assign(part=["train"] * 40 + ["test"] * 20).to_csv(tmp_path / "train.csv", index=False)
    reviews(10, seed=1, first_row=500).to_csv(tmp_path / "test.csv", index=False)
    toml = study_toml(tiny_model, tmp_path, ["full"])
    (tmp_path / "study.toml").write_text(toml.replace(f'test = "{tmp_path / "test.csv"}"', lines))
    answer = tuneoff("run", "--no-report", "study.toml", "--out", "out")
    assert answer.returncode == 2
    assert message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_hub_dataset_has_its_usual_test_split_only_without_folds() -> None:
    assert HubData(source="hub", id="some/data").test == "test"
    assert HubData(source="hub", id="some/data", folds=5).test is None


def test_a_leak_in_one_fold_is_found(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    frame = reviews(90, seed=0).assign(author=[f"author {row // 2}" for row in range(90)])
    path = study(tmp_path, tiny_model, frame)
    clean = tuneoff("audit", path, "--set", "data.group=author", "--json")
    assert clean.returncode == 0, clean.stderr
    parts = make_folds(path)
    trained = set(parts["fold-0"].members["train"].tolist())
    first, second = (next(row for row in parts[f"fold-{fold}"].members["test"] if row in trained) for fold in (1, 2))
    # The same text in two groups, which fold 0 trains on and folds 1 and 2 test: the leak is told of once.
    frame.loc[first, ["text", "label"]] = frame.loc[second, ["text", "label"]]
    frame.to_csv(tmp_path / "train.csv", index=False)
    answer = tuneoff("audit", path, "--set", "data.group=author", "--json")
    assert answer.returncode == 2
    found = [entry for entry in json.loads(answer.stdout) if entry["name"] == "test-in-train"]
    assert [entry["message"].split(":")[0] for entry in found] == ["fold 1"]


def make_folds(path: Path) -> dict[str, Splits]:
    """The folds of a study file, by author."""
    spec = api.load_study(path, ["data.group=author"]).data
    return make_parts(collect_rows(spec.open_tables(), spec, path.parent, print), spec)


def test_stored_folds_hold_the_same_tokens(finished: Path) -> None:
    data = finished / "data"
    whole: dict[str, list[int]] = {}
    for fold in range(FOLDS):
        tokens = load_tokens(data, "head", f"fold-{fold}")
        for name in SPLITS:
            frame = pd.read_parquet(data / f"fold-{fold}" / f"{name}.parquet")
            assert len(frame) == len(tokens[name])
            np.testing.assert_array_equal(frame["label"], tokens[name].labels)
            for text, ids in zip(frame["text"], sequences(tokens[name]), strict=True):
                assert whole.setdefault(text, ids) == ids
    assert len(whole) == 62
    tests = pd.concat([pd.read_parquet(data / f"fold-{fold}" / "test.parquet") for fold in range(FOLDS)])
    pd.testing.assert_frame_equal(pd.read_parquet(data / "test.parquet"), tests.reset_index(drop=True))
    assert {path.name for path in data.iterdir()} == {
        "audit.json", "prepared.json", "manifest.json", "test.parquet", *(f"fold-{fold}" for fold in range(FOLDS)),
    }  # fmt: skip


def sequences(tokens: Tokens) -> list[list[int]]:
    return [ids.tolist() for ids in np.split(np.asarray(tokens.ids), np.asarray(tokens.offsets[1:-1]))]


def test_a_seed_is_scored_on_all_examples(finished: Path) -> None:
    results = api.load_results(finished)
    assert len(results.runs) == len(ARMS) * 2 * FOLDS
    assert results.prepared.sizes["test"] == 62
    labels = pd.read_parquet(finished / "data" / "test.parquet")["label"]
    for arm in ARMS:
        seeds = results.of_arm(arm)
        assert [run.seed for run in seeds] == [0, 1]
        correct = results.correct(arm)
        assert correct.shape == (2, 62)
        for run, row, frame in zip(seeds, correct, results.predictions(arm), strict=True):
            assert run.test_accuracy == row.mean()
            np.testing.assert_array_equal(frame["label"], labels)
            of_folds = [
                found for found in dictionaries(results.runs) if (found["arm"], found["seed"]) == (arm, run.seed)
            ]
            assert [found["part"] for found in of_folds] == [f"fold-{fold}" for fold in range(FOLDS)]
            assert run.train_seconds == pytest.approx(np.mean([found["train_seconds"] for found in of_folds]))
    for baseline in results.prepared.baselines.values():
        assert baseline.test_accuracy == (np.array(baseline.predictions) == labels).mean()
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["runs"] == {"planned": 12, "done": 12, "failed": 0}
    assert [arm["runs"] for arm in summary["arms"]] == [2, 2]


def test_a_seed_counts_when_all_its_folds_are_done(finished: Path, tuneoff: Command) -> None:
    results = api.load_results(finished)
    lost = next(
        run for run in dictionaries(results.runs) if (run["arm"], run["seed"], run["part"]) == ("full", 1, "fold-2")
    )
    result = finished / "runs" / lost["run_id"] / "result.json"
    content = result.read_text()
    result.unlink()
    try:
        partial = api.load_results(finished)
        assert [run.seed for run in partial.of_arm("full")] == [0]
        assert partial.correct("full").shape == (1, 62)
        states = json.loads(tuneoff("status", finished, "--json").stdout)["runs"]
        assert [(state["seed"], state["part"]) for state in states if state["state"] == "left"] == [(1, "fold-2")]
        line = next(line for line in tuneoff("status", finished).stdout.splitlines() if "left" in line)
        assert "fold 2" in line
    finally:
        result.write_text(content)


@pytest.mark.long
def test_the_plan_and_the_lines_of_a_study_name_folds(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    path = study(tmp_path, tiny_model, reviews(62, seed=3), seeds=1)
    plan = json.loads(tuneoff("plan", path, "--json").stdout)
    assert plan["runs"] == 6
    assert [part["part"] for part in plan["parts"]] == [f"fold-{fold}" for fold in range(FOLDS)]
    assert plan["steps"] == 2 * sum(part["steps_per_run"] for part in plan["parts"])
    assert "2 arms x 1 seed x 3 folds = 6 runs" in tuneoff("plan", path).stdout
    answer = tuneoff("run", "--no-report", path, "--out", "out", "--set", "execution.max_run_time=0.01s")
    assert answer.returncode == 1
    assert "full, seed 0, fold 2: timeout" in answer.stdout
    ids = {entry["id"] for entry in json.loads((tmp_path / "out" / "plan.json").read_text())}
    assert {run_id.rsplit("-", 1)[0] for run_id in ids} == {
        f"{arm}-seed0-fold-{fold}" for arm in ARMS for fold in range(FOLDS)
    }
