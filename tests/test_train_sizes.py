"""Learning curves: nested training sets with the same test examples, and a study from the plan to the curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tuneoff as api
from conftest import Command, reviews, study_toml
from processes import assert_same_predictions
from stored import dictionaries
from tuneoff.analysis.learning_curves import learning_curves
from tuneoff.core.errors import UserError
from tuneoff.data.collect import collect_rows
from tuneoff.data.parts import make_parts
from tuneoff.data.prepared import load_tokens
from tuneoff.data.sources.files import FilesData
from tuneoff.data.splits import Splits

ARMS = ["full", "head_only"]
SIZES = [16, 40, 96]


def make(folder: Path, frame: pd.DataFrame, sizes: list[int], **options: Any) -> dict[str, Splits]:
    """The parts of a frame's rows."""
    frame.to_parquet(folder / "rows.data.parquet")
    spec = FilesData(source="files", train=str(folder / "rows.data.parquet"), train_sizes=tuple(sizes), **options)
    return make_parts(collect_rows(spec.open_tables(), spec, folder, print), spec)


@pytest.fixture(scope="module")
def finished(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study: two arms, two seeds, three sizes."""
    folder = tmp_path_factory.mktemp("sizes")
    toml = study_toml(tiny_model, data_files, ARMS, epochs=1).replace("[data]", f"[data]\ntrain_sizes = {SIZES}")
    (folder / "study.toml").write_text(toml)
    results = api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)
    assert results.failed == []
    return folder / "out"


@pytest.mark.parametrize("options", [{}, {"group": "author"}, {"sampling": "first"}])
def test_smaller_sets_are_inside_larger_ones(options: dict[str, str], tmp_path: Path) -> None:
    # Classes of such shares are rounded to and fro as sizes grow, and groups of three rarely fit a size.
    frame = reviews(600, seed=0).assign(
        label=(["a"] * 7 + ["b"] * 4 + ["c"] * 1) * 50, author=[f"author {row // 3}" for row in range(600)]
    )
    sizes = list(range(5, 300, 7))
    parts = make(tmp_path, frame, sizes, **options)
    assert list(parts) == [f"train-{size}" for size in reversed(sizes)]
    largest = parts[f"train-{sizes[-1]}"]
    larger = largest
    for size, splits in zip(reversed(sizes), parts.values(), strict=True):
        assert np.isin(splits.members["train"], larger.members["train"]).all()
        assert size <= splits.sizes["train"] <= size + (2 if "group" in options else 0)
        for name in ("validation", "test"):
            np.testing.assert_array_equal(splits.members[name], largest.members[name])
        if not options:
            assert len(np.unique(splits.labels("train"))) == 3
        larger = splits


def test_the_largest_size_is_what_train_size_takes(tmp_path: Path) -> None:
    frame = reviews(200, seed=0)
    largest = make(tmp_path, frame, [20, 80])["train-80"]
    spec = FilesData(source="files", train=str(tmp_path / "rows.data.parquet"), train_size=80)
    (whole,) = make_parts(collect_rows(spec.open_tables(), spec, tmp_path, print), spec).values()
    for name, members in whole.members.items():
        np.testing.assert_array_equal(largest.members[name], members)


def test_sizes_above_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.train_sizes = 5000, but only \d+ rows are left for train"):
        make(tmp_path, reviews(100, seed=0), [10, 5000])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("train_sizes = [10, 20]\ntrain_size = 20", "train_sizes and train_size cannot be used together"),
        ("train_sizes = [20, 10]", "data.train_sizes: write sizes in ascending order, each once"),
        ("train_sizes = [10, 10]", "data.train_sizes: write sizes in ascending order, each once"),
        ("train_sizes = [0, 10]", "greater than 0"),
        ("train_sizes = []", "data.train_sizes"),
        ("train_sizes = [1, 10]", "data.train_sizes = 1, but there are 2 classes"),
    ],
)
def test_sizes_that_make_no_curve(
    lines: str, message: str, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    toml = study_toml(tiny_model, data_files, ["full"]).replace("[data]", f"[data]\n{lines}")
    (tmp_path / "study.toml").write_text(toml)
    answer = tuneoff("run", "--no-report", "study.toml", "--out", "out")
    assert answer.returncode == 2
    assert message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_one_class_in_the_smallest_set_is_found(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    frame = reviews(200, seed=0).sort_values("label", kind="stable")
    (pd.concat([frame.iloc[50:], frame.iloc[:50]])).to_csv(tmp_path / "train.csv", index=False)
    reviews(60, seed=2, first_row=1000).to_csv(tmp_path / "test.csv", index=False)
    toml = study_toml(tiny_model, tmp_path, ["full"])
    (tmp_path / "study.toml").write_text(
        toml.replace("[data]", '[data]\nsampling = "first"\ntrain_sizes = [20, 100]\nvalidation_size = 80')
    )
    answer = tuneoff("audit", "study.toml", "--json")
    assert answer.returncode == 2
    messages = [entry["message"] for entry in json.loads(answer.stdout) if entry["name"] == "one-class-split"]
    assert [message.split(":")[0] for message in messages] == ["20 examples"]


def test_validation_and_test_are_stored_once(finished: Path) -> None:
    data = finished / "data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == {
        "validation", "test", *(f"train-{size}" for size in SIZES),
    }  # fmt: skip
    for size in SIZES:
        assert [path.name for path in sorted((data / f"train-{size}").iterdir())] == ["train", "train.parquet"]
        tokens = load_tokens(data, "head", f"train-{size}")
        assert {name: len(split) for name, split in tokens.items()} == {"train": size, "validation": 16, "test": 60}
        assert len(pd.read_parquet(data / f"train-{size}" / "train.parquet")) == size


def test_every_size_has_results_and_the_summary_is_of_the_largest(finished: Path) -> None:
    results = api.load_results(finished)
    assert len(results.runs) == len(ARMS) * 2 * len(SIZES)
    assert results.prepared.sizes == {"train": 96, "validation": 16, "test": 60}
    for run in dictionaries(results.runs):
        size = int(run["part"].removeprefix("train-"))
        assert run["steps"] == -(-size // 8)
        assert f"-{run['part']}-" in run["run_id"]
    for arm in ARMS:
        assert {run.part for (run,) in results.runs_by_seed(arm)} == {"train-96"}
        for size in SIZES:
            assert [run.part for (run,) in results.runs_by_seed(arm, size)] == [f"train-{size}"] * 2
            accuracies = [run.score for run in results.of_arm(arm, size)]
            np.testing.assert_allclose(results.scores(arm, size).values.mean(axis=1), accuracies)
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["data"]["sizes"]["train"] == 96
    assert [arm["runs"] for arm in summary["arms"]] == [2, 2]
    for arm in summary["arms"]:
        assert arm["test_accuracies"] == [run.test_accuracy for run in results.of_arm(arm["arm"])]


def test_learning_curves(finished: Path) -> None:
    results = api.load_results(finished)
    curves = learning_curves(results)
    assert curves is not None
    assert list(curves.train_sizes) == SIZES
    assert set(curves.arms) == set(ARMS)
    for arm, points in curves.arms.items():
        assert [point.train_size for point in points] == SIZES
        for point in points:
            accuracy = point.test_score
            assert accuracy is not None
            assert point.runs == 2
            assert accuracy.mean == pytest.approx(results.scores(arm, point.train_size).values.mean())
            assert accuracy.ci_low <= accuracy.mean <= accuracy.ci_high
    assert curves.forecasts.keys() == set(ARMS)
    for arm in ARMS:
        forecast = curves.forecasts[arm]
        assert (forecast.train_size, forecast.test_score) == (192, None)
        assert forecast.why_not == "most of its runs learned nothing from 96", "an epoch of 12 steps is too little"
    assert curves.baselines.keys() == results.prepared.baselines.keys()
    for name, of_baseline in curves.baselines.items():
        assert [point.train_size for point in of_baseline] == SIZES
        assert of_baseline[-1].test_score == results.prepared.baselines[name].test_accuracy


def test_another_size_leaves_runs_that_are_done(finished: Path, tuneoff: Command, tmp_path: Path) -> None:
    done = {run["run_id"] for run in dictionaries(api.load_results(finished).runs)}
    spec = api.load_study(finished / "study.toml", ["data.train_sizes=[16, 64, 96]"])
    out = tmp_path / "out"
    results = api.run_study(spec.model_copy(update={"arms": spec.arms[:1], "seeds": (0,)}), out, report=False)
    again = {run["part"]: run["run_id"] in done for run in dictionaries(results.runs)}
    assert again == {"train-16": True, "train-64": False, "train-96": True}
    assert learning_curves(api.load_results(finished)) != learning_curves(results)


@pytest.mark.long
def test_the_plan_and_the_lines_of_a_study_name_sizes(
    tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    toml = study_toml(tiny_model, data_files, ARMS, seeds=1, epochs=1)
    (tmp_path / "study.toml").write_text(toml.replace("[data]", f"[data]\ntrain_sizes = {SIZES}"))
    plan = json.loads(tuneoff("plan", "study.toml", "--json").stdout)
    assert plan["runs"] == 6
    assert [(part["part"], part["steps_per_run"]) for part in plan["parts"]] == [
        ("train-96", 12), ("train-40", 5), ("train-16", 2),
    ]  # fmt: skip
    assert plan["steps"] == 2 * (12 + 5 + 2)
    assert "2 arms x 1 seed x 3 training sizes = 6 runs, 38 steps" in tuneoff("plan", "study.toml").stdout
    answer = tuneoff("run", "--no-report", "study.toml", "--out", "out")
    assert answer.returncode == 0, answer.stderr
    assert "6 of 6 runs to train, 38 steps" in answer.stdout
    assert "] full, seed 0, 40 examples: test accuracy" in answer.stdout
    assert "16 examples" in tuneoff("status", "out").stdout


@pytest.mark.long
def test_ray_ships_each_size(finished: Path, tuneoff: Command, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra 'cluster')")
    one = ["--workers", "1", "--set", "seeds=1"]  # each further one imports all anew
    answer = tuneoff(
        "run", "--no-report", finished / "study.toml", "--executor", "ray", "--out", "out", *one, RAY_ADDRESS=""
    )
    assert answer.returncode == 0, answer.stderr
    shipped = [run.run_id for run in api.load_results(tmp_path / "out").runs]
    assert len(shipped) == len(ARMS) * len(SIZES)
    assert_same_predictions(tmp_path / "out", finished, shipped)
