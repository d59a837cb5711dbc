"""Studies side by side through the command line: what is found, what is named, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tuneoff as api
from conftest import Command, reviews, study_toml
from stored import altered, dictionary
from test_terminal import Terminal
from tuneoff.core.files import canonical_hash, file_hash
from tuneoff.measure.environment import environment
from tuneoff.records.run import ScoredRun
from tuneoff.study.executors.local import LocalExecutor
from tuneoff.study.plan import plan_runs
from tuneoff.study.prepare import prepare_study
from tuneoff.study.store import Store

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Carries out a small study, or only prepares it, and returns its folder."""

    def call(
        *overrides: str,
        model: Path = tiny_model,
        data: Path = data_files,
        test_file: bool = True,
        train: bool = True,
        **options: Any,
    ) -> Path:
        folder = tmp_path_factory.mktemp("study")
        arms = options.pop("arms", ["head_only", "lora"])
        text = study_toml(model, data, arms, **{"seeds": 2, "epochs": 1, **options})
        lines = [line for line in text.splitlines() if test_file or not line.startswith("test = ")]
        (folder / "study.toml").write_text("\n".join(lines))
        spec, out = api.load_study(folder / "study.toml", overrides), folder / "out"
        if train:
            assert api.run_study(spec, out, report=False).failed == []
        else:
            prepared = prepare_study(spec, out, lambda _: None)
            prepared.save()
            allocation = LocalExecutor(spec.execution, spec.training).allocation
            runs = plan_runs(spec, prepared, allocation, lambda _: spec.arms)
            Store(out).write_study(spec, runs, environment())
        return out

    return call


@pytest.fixture(scope="module")
def first(make: Make) -> Path:
    return make()


@pytest.fixture(scope="module")
def learned(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first study, as if its arms had learned their task."""

    def alter(result: dict[str, Any]) -> None:
        result["loss_trace"] = [[step, 0.1 * result["guess_loss"]] for step, _ in result["loss_trace"]]
        result["test_accuracy"] = 0.9

    return altered(first, tmp_path_factory.mktemp("learned") / "out", alter)


@pytest.fixture(scope="module")
def second(make: Make, steady_model: Path) -> Path:
    """Another model on the same data, with other epochs, seeds, and arms of which one only has another name."""
    renamed = 'method = "head_only"\nname = "probe"\nlearning_rate = 3e-3'
    return make(
        model=steady_model,
        arms=[renamed, 'method = "lora"\nr = 4\nlearning_rate = 1e-3', "ia3"],
        seeds="[1, 2]",
        epochs=2,
    )


def _compared(tuneoff: Command, first: Path, other: Path) -> dict[str, Any]:
    """The one comparison of two studies."""
    answer = json.loads(tuneoff("compare", first, other, "--json").stdout)
    assert [(study["name"], study["folder"]) for study in answer["studies"]] == [("A", str(first)), ("B", str(other))]
    (compared,) = answer["comparisons"]
    assert (compared["a"], compared["b"]) == ("A", "B")
    return dict(compared)


def test_arms_that_did_not_learn_are_marked_and_part_of_no_verdict(
    first: Path, learned: Path, tuneoff: Command, tmp_path: Path
) -> None:
    def lazy(result: dict[str, Any]) -> None:
        if result["arm"] == "lora":
            result["loss_trace"] = [[step, result["guess_loss"]] for step, _ in result["loss_trace"]]
            result["test_accuracy"] = 0.5

    other = altered(learned, tmp_path / "lazy", lazy)
    compared = _compared(tuneoff, learned, other)
    head_only, lora = compared["pairs"]
    assert (head_only["not_learned"], lora["not_learned"]) == ([], ["B"])
    assert lora["test_accuracy"]["verdict"] == "not learned"
    assert head_only["test_accuracy"]["p_value_holm"] == head_only["test_accuracy"]["p_value"], "it is the only one"
    assert (compared["overall"]["arms"], compared["overall"]["left_out"]) == (1, ["lora"])
    assert compared["overall"]["difference"] == head_only["test_accuracy"]["difference"]
    shown = tuneoff("compare", learned, other).stdout
    assert re.search(r"^ +lora +B .* \d+\.\d% † +not compared *$", shown, re.MULTILINE), shown
    assert "† did not learn." in shown
    assert "Overall (1 arm, without lora), B against A" in shown
    assert "Of B, lora did not learn this task: no verdict is about it" in shown
    nothing = _compared(tuneoff, first, first)
    assert (nothing["overall"], nothing["best"]) == (None, None), "one epoch is too short for these arms"
    assert {pair["test_accuracy"]["verdict"] for pair in nothing["pairs"]} == {"not learned"}


def test_a_study_equals_itself(learned: Path, tuneoff: Command) -> None:
    compared = _compared(tuneoff, learned, learned)
    assert compared["differences"] == []
    assert [(pair["arm_a"], pair["arm_b"]) for pair in compared["pairs"]] == [
        (arm, arm) for arm in ("head_only", "lora")
    ]
    for pair in compared["pairs"]:
        assert pair["seeds"] == [0, 1]
        difference = pair["test_accuracy"]["difference"]
        assert difference["ci_low"] <= difference["mean"] == 0.0 <= difference["ci_high"]
        assert (pair["test_accuracy"]["verdict"], pair["not_learned"]) == ("not told apart", [])
        assert {cost["ratio"] for cost in pair["costs"].values()} == {1.0}
        assert "train_seconds" in pair["costs"]
        assert pair["differences"] == []
    assert compared["overall"]["arms"] == 2


def test_models_and_settings_may_differ_and_are_named(first: Path, second: Path, tuneoff: Command) -> None:
    compared = _compared(tuneoff, first, second)
    differences = {entry["setting"]: (entry["a"], entry["b"]) for entry in compared["differences"]}
    assert differences.pop("training.epochs") == (1, 2)
    assert "steady" in differences.pop("model.id")[1]
    assert differences == {}
    probe, lora = compared["pairs"]
    assert (probe["arm_a"], probe["arm_b"], probe["differences"]) == ("head_only", "probe", [])
    assert lora["differences"] == [
        {"setting": "learning_rate", "a": "0.0005", "b": "0.001"},
        {"setting": "r", "a": 8, "b": 4},
    ]
    assert compared["only_in_b"] == ["ia3"]
    assert probe["seeds"] == lora["seeds"] == [1]
    assert {pair["test_accuracy"]["verdict"] for pair in (probe, lora)} <= {"unranked", "not learned"}
    for pair in (probe, lora):
        correct = []
        for folder, arm in ((first, pair["arm_a"]), (second, pair["arm_b"])):
            (run,) = (run for (run,) in api.load_results(folder).runs_by_seed(arm) if run.seed == 1)
            frame = pd.read_parquet(folder / "runs" / run.run_id / "predictions.parquet")
            correct.append(frame["label"] == frame["prediction"])
        expected = correct[1].mean() - correct[0].mean()
        assert pair["test_accuracy"]["difference"]["mean"] == pytest.approx(expected)
    answer = tuneoff("compare", first, second)
    assert answer.returncode == 0, answer.stderr
    for words in (
        "different: model.id",
        "head_only / probe",
        "lora: r is 8 in A, 4 in B",
        "Only in B: ia3",
        "not compared",
        "A  ",
        "x 1.00",
    ):
        assert words in answer.stdout


def test_the_other_way_round_has_the_other_sign(first: Path, second: Path, tuneoff: Command) -> None:
    there, back = (_compared(tuneoff, *folders) for folders in ((first, second), (second, first)))
    for pair, other in zip(there["pairs"], back["pairs"], strict=True):
        difference, opposite = (entry["test_accuracy"]["difference"] for entry in (pair, other))
        assert difference["mean"] == pytest.approx(-opposite["mean"])
        for cost, found in pair["costs"].items():
            assert found["ratio"] == pytest.approx(1 / other["costs"][cost]["ratio"])


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("device", ["another device"]),
        ("precision", ["bf16", "fp32"]),
        ("devices", [2]),
        ("versions", [{"torch": "1.0"}]),
    ],
)
def test_costs_that_were_measured_differently_are_left_out(
    field: str, values: list[Any], first: Path, tuneoff: Command, tmp_path: Path
) -> None:
    def alter(result: dict[str, Any]) -> None:
        found = result["conditions"]
        found[field] = next(value for value in values if value != found[field])

    other = altered(first, tmp_path / "other", alter)
    compared = _compared(tuneoff, first, other)
    assert any(entry["setting"].startswith(field) for entry in compared["differences"])
    for pair in compared["pairs"]:
        assert pair["test_accuracy"] is not None
        assert set(pair["costs"]) == {"trainable_parameters", "checkpoint_bytes"}
        assert set(pair["left_out"]) == {"train_seconds", "inference_latency_seconds", "peak_train_memory_bytes"}
        assert all(field in why for why in pair["left_out"].values())
    assert (
        "Not compared, B with A: train time, latency, peak memory; measured differently"
        in tuneoff("compare", first, other).stdout
    )


def test_times_on_a_shared_device_are_not_compared_with_others(first: Path, tuneoff: Command, tmp_path: Path) -> None:
    other = altered(first, tmp_path / "other", lambda result: result["conditions"].update(shared_device=True))
    for pair in _compared(tuneoff, first, other)["pairs"]:
        assert set(pair["left_out"]) == {"train_seconds", "inference_latency_seconds"}
        assert "in B other runs" in pair["left_out"]["train_seconds"]


def test_costs_are_compared_where_the_common_conditions_of_both_studies_are_alike(
    first: Path, tuneoff: Command, tmp_path: Path
) -> None:
    """Half of B's runs were computed on another device, and one of its arms there alone."""

    def moved(result: dict[str, Any]) -> None:
        if result["seed"] == 1 or result["arm"] == "lora":
            result["conditions"].update(device="another GPU")
            result.update(train_seconds=1000.0)

    other = altered(first, tmp_path / "other", moved)
    runs = {(run.arm, run.seed): run for run in api.load_results(first).runs if isinstance(run, ScoredRun)}
    device = runs["head_only", 0].conditions.device
    head_only, lora = _compared(tuneoff, other, first)["pairs"]
    for pair in (head_only, lora):  # both of B's arms have runs on the other device, and are compared by these
        assert set(pair["left_out"]) == {"train_seconds", "inference_latency_seconds", "peak_train_memory_bytes"}
        assert f"device: another GPU and {device}" in pair["left_out"]["train_seconds"]

    other = altered(first, tmp_path / "half", lambda result: moved(result) if result["seed"] == 1 else None)
    for pair in _compared(tuneoff, first, other)["pairs"]:
        seconds = pair["costs"]["train_seconds"]
        assert seconds["b"] == runs[pair["arm_a"], 0].train_seconds, "no mean of two devices"
        assert seconds["a"] != seconds["b"]


def test_results_from_before_latency_was_measured_compare_in_the_rest(
    first: Path, tuneoff: Command, tmp_path: Path
) -> None:
    other = altered(first, tmp_path / "other", lambda result: result.pop("inference_latency_seconds"))
    for pair in _compared(tuneoff, first, other)["pairs"]:
        assert pair["left_out"] == {"inference_latency_seconds": "it was not measured in both studies"}


@pytest.mark.long
def test_other_data_is_refused(first: Path, make: Make, data_files: Path, tuneoff: Command, tmp_path: Path) -> None:
    def with_files(
        name: str, change: Callable[[pd.DataFrame, pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]]
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        frames = change(*(pd.read_csv(data_files / f"{split}.csv") for split in ("train", "test")))
        for split, frame in zip(("train", "test"), frames, strict=True):
            frame.to_csv(folder / f"{split}.csv", index=False)
        return make(data=folder, train=False)

    def relabelled(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        return train, test.assign(label=np.where(test.index == 5, 1 - test["label"], test["label"]))

    def renamed(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        train, test = (frame.assign(label="is " + frame["label"].astype(str)) for frame in (train, test))
        return train, test

    folded = make("data.folds=3", arms=["head_only"], seeds=1, test_file=False)
    others = {
        "test examples differ: 60 in A, 60 in B, 0 of them in both": with_files(
            "other-test", lambda train, _test: (train, reviews(60, seed=9, first_row=5000))
        ),
        "test examples differ: 1 of 60 have another label": with_files("relabelled", relabelled),
        "test examples differ: they are the same, but in another order": with_files(
            "reordered", lambda train, test: (train, test.iloc[::-1])
        ),
        "train examples differ: 144 in A": with_files("fewer", lambda train, test: (train.iloc[:100], test)),
        "their classes differ": with_files("renamed", renamed),
        "no folds and 3 folds (data.folds)": folded,
    }
    for words, other in others.items():
        answer = tuneoff("compare", first, other)
        assert answer.returncode == 2, words
        assert answer.stdout == ""
        assert words in answer.stderr
        assert len(answer.stderr.splitlines()) == 1
        assert str(other) in answer.stderr
    assert tuneoff("compare", folded, folded).returncode == 0


def test_what_is_no_study_or_has_no_results_is_refused(first: Path, tuneoff: Command, tmp_path: Path) -> None:
    bare = shutil.copytree(first, tmp_path / "bare")
    shutil.rmtree(bare / "runs")
    damaged = shutil.copytree(first, tmp_path / "damaged")
    (damaged / "data" / "test.parquet").write_bytes(b"nothing")
    for other, words in ((tmp_path, "holds no study"), (bare, "has no results"), (damaged, "damaged")):
        answer = tuneoff("compare", first, other)
        assert answer.returncode == 2
        assert words in answer.stderr
        assert len(answer.stderr.splitlines()) == 1


def test_many_seeds_that_agree_are_told_apart(learned: Path, tuneoff: Command, tmp_path: Path) -> None:
    """Results in which B's arms are right where A's are, and on eleven examples more."""
    other = _improved(learned, tmp_path / "other", 11)
    compared = _compared(tuneoff, learned, other)
    assert compared["pairs"][0]["test_accuracy"]["difference"]["mean"] == pytest.approx(11 / 60)
    assert compared["pairs"][0]["test_accuracy"]["verdict"] == "b"
    assert compared["overall"]["verdict"] == "b"


def _improved(folder: Path, to: Path, examples: int) -> Path:
    """A copy of a study whose arms are right where its are, and on so many examples more."""
    shutil.copytree(folder, to)
    for path in to.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        frame = pd.read_parquet(path.parent / "predictions.parquet")
        wrong = np.flatnonzero(frame["label"] != frame["prediction"])[:examples]
        frame.loc[wrong, "prediction"] = frame.loc[wrong, "label"]
        frame.to_parquet(path.parent / "predictions.parquet")
        del result["sha256"]
        result["predictions_sha256"] = file_hash(path.parent / "predictions.parquet")
        path.write_text(json.dumps({**result, "sha256": canonical_hash(result)}))
    return to


def test_several_studies_are_compared_with_the_first_under_one_risk(
    learned: Path, second: Path, tuneoff: Command, tmp_path: Path
) -> None:
    better = _improved(learned, tmp_path / "better", 11)
    answer = tuneoff("compare", learned, better, learned, second)
    assert answer.returncode == 0, answer.stderr
    compared = json.loads(tuneoff("compare", learned, better, learned, second, "--json").stdout)
    assert [study["name"] for study in compared["studies"]] == ["A", "B", "C", "D"]
    found = compared["comparisons"]
    assert [(entry["a"], entry["b"]) for entry in found] == [("A", "B"), ("A", "C"), ("A", "D")]
    alone = _compared(tuneoff, learned, better)["pairs"]
    for pair, other in zip(found[0]["pairs"], alone, strict=True):
        assert pair["test_accuracy"]["difference"] == other["test_accuracy"]["difference"]
        assert pair["test_accuracy"]["verdict"] == "b"
        assert pair["test_accuracy"]["p_value"] == other["test_accuracy"]["p_value"]
    # The smallest of two p-values is doubled, that of all pairs of three comparisons is taken as often as there are.
    smallest = [min(pair["test_accuracy"]["p_value_holm"] for pair in pairs) for pairs in (alone, found[0]["pairs"])]
    judged = sum(not pair["not_learned"] for comparison in found for pair in comparison["pairs"])
    assert judged >= 4
    assert smallest[1] == pytest.approx(judged / 2 * smallest[0])
    assert {pair["test_accuracy"]["verdict"] for pair in found[1]["pairs"]} == {"not told apart"}
    for words in ("B is more accurate", "Overall (2 arms), C against A", "lora: r is 8 in A, 4 in D", "Only in D: ia3"):
        assert words in answer.stdout


def test_the_study_that_does_not_fit_is_named(first: Path, make: Make, tuneoff: Command) -> None:
    folded = make("data.folds=3", arms=["head_only"], seeds=1, test_file=False, train=False)
    answer = tuneoff("compare", first, first, folded)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert f"{first} (A) and {folded} (C) cannot be compared" in answer.stderr


def test_an_unmerged_adapter_is_not_compared_by_its_latency(make: Make, tuneoff: Command) -> None:
    full, lora = (make(arms=[f'method = "{method}"\nname = "tuned"'], seeds=1) for method in ("full", "lora"))
    (pair,) = _compared(tuneoff, full, lora)["pairs"]
    assert pair["left_out"] == {"inference_latency_seconds": "in B an adapter is beside the weights, unmerged"}
    assert "train_seconds" in pair["costs"]


def test_no_name_and_no_number_is_cut_in_a_terminal(make: Make) -> None:
    name = "head_only-with.a+name-that-is=longer_than-half-of-a-terminal"
    study = make(arms=[f'method = "head_only"\nname = "{name}"\nlearning_rate = 5e-2'], seeds=1)
    (arm,) = dictionary(api.load_results(study).summary)["arms"]
    for columns in (50, 80):
        terminal = Terminal(columns, "compare", study, study, study, rows=200)
        assert terminal.end() == 0
        shown = "\n".join(terminal.screens)
        assert "…" not in shown
        for piece in (
            "head_only-",
            "name-that-",
            "is=longer_",
            "terminal",
            f"{100 * arm['test_accuracy']['mean']:.1f}%",
        ):
            assert piece in shown
