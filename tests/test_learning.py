"""Did it learn? Studies that cannot, each for another reason, and what terminal, page and summary say of them."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import tuneoff as api
from conftest import Command, reviews, study_toml
from made_up import arm_entries
from stored import curve_point, diverged_run, scored_run
from tuneoff.analysis.learning import learning_of, run_state
from tuneoff.analysis.underfitting import underfitting_notes
from tuneoff.records.baselines import Baseline
from tuneoff.records.prepared import PreparedPart
from tuneoff.tasks.single_label import SingleLabel

DOUBTS = ("did not learn", "diverged", "no better than guessing")


def run(toml: str, folder: Path, tuneoff: Command, code: int = 0) -> tuple[dict[str, Any], str]:
    """The summary of a study, and what its terminal, page and Markdown say, after checks that hold for all of them."""
    (folder / "study.toml").write_text(toml)
    answer = tuneoff("run", "study.toml", "--out", "out")
    assert answer.returncode == code, answer.stderr
    summary: dict[str, Any] = json.loads((folder / "out" / "summary.json").read_text())
    recommendation = summary["recommendation"]
    named = {recommendation["arm"], (recommendation.get("choose_now") or {}).get("arm")} - {None}
    page, markdown = ((folder / "out" / name).read_text() for name in ("report.html", "report.md"))
    for arm in summary["arms"]:
        learning = arm["learning"]
        if learning["state"] == "learned":
            continue
        assert arm["arm"] not in named
        for text in (answer.stdout, page, markdown):
            assert any(doubt in text for doubt in DOUBTS)
            assert learning["sentence"].split(".")[0].split("(")[0].strip() in " ".join(text.split())
    for text in (answer.stdout, page, markdown):
        assert "harder data" not in text, "the data is to blame only where an arm learned it"
    return summary, answer.stdout


def states(summary: dict[str, Any]) -> dict[str, str]:
    return {arm["arm"]: arm["learning"]["state"] for arm in summary["arms"]}


def sentence(summary: dict[str, Any], arm: str) -> str:
    return str(next(entry["learning"]["sentence"] for entry in summary["arms"] if entry["arm"] == arm))


@pytest.mark.long
def test_rates_a_hundredth_of_what_is_needed(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    arms = ['method = "full"\nlearning_rate = 1e-6', 'method = "lora"\nlearning_rate = 3e-5', "ia3"]
    toml = study_toml(tiny_model, data_files, arms, seeds=1, tuning="trials = 2", epochs=4)
    summary, printed = run(toml, tmp_path, tuneoff)
    assert states(summary)["full"] == states(summary)["lora"] == "not learned"
    for arm in ("full", "lora"):
        assert "is too low" in sentence(summary, arm)
        assert f"arms.{arm}.learning_rate" in sentence(summary, arm)
    assert re.search(r"^† did not learn: full, lora", printed, re.MULTILINE)
    assert len(re.findall(r"^ +(full|lora) +\d+\.\d% † ", printed, re.MULTILINE)) == 2
    assert not any(set(front) & {"full", "lora"} for front in summary["pareto"].values())


@pytest.mark.long
def test_a_rate_that_is_far_too_high(tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command) -> None:
    arms = ['method = "full"\nlearning_rate = 50', 'method = "lora"\nlearning_rate = 900']
    summary, printed = run(study_toml(tiny_model, data_files, arms, epochs=4), tmp_path, tuneoff, code=1)
    assert set(states(summary).values()) == {"diverged"}
    assert "is too high" in sentence(summary, "full")
    assert "diverged" in printed
    for folder in (tmp_path / "out" / "runs").iterdir():
        result = json.loads((folder / "result.json").read_text())
        if result["status"] == "diverged":
            assert result["loss_trace"][-1][0] < result["steps"], "it is given up before its end"


@pytest.mark.long
def test_a_last_update_that_leaves_no_numbers(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    arms = ['method = "full"\nlearning_rate = 1e38']
    toml = study_toml(tiny_model, data_files, arms, seeds=1, epochs=1, batch_size=500)
    summary, printed = run(toml, tmp_path, tuneoff, code=1)
    assert states(summary) == {"full": "diverged"}
    assert "the model gives no numbers any more (at step 1 of 1)" in printed
    assert "is too high" in sentence(summary, "full")


@pytest.mark.parametrize(("accuracy", "constant", "state"), [(0.9, 0.6, "learned"), (0.9, 1.0, "not learned")])
def test_a_run_that_is_right_has_learned_whatever_its_loss(accuracy: float, constant: float, state: str) -> None:
    majority = Baseline(label="majority class", test_accuracy=0.5, trained_on=1, predictions=(0,) * 60)
    part = PreparedPart(fingerprint="", sizes={"validation": 16}, baselines={"majority": majority})
    prepared = SimpleNamespace(label_names=("no", "yes"), part=lambda _: part)
    guess = math.log(2)
    result = scored_run(
        guess_loss=guess,
        loss_trace=[(step, guess) for step in range(1, 26)],
        curve=[curve_point(largest_share=constant, validation_loss=guess)],
        test_accuracy=accuracy,
    )
    results = cast("Any", SimpleNamespace(prepared=prepared, task=SingleLabel))
    assert run_state(results, result) == state
    assert run_state(results, result.model_copy(update={"test_accuracy": 0.7})) == "not learned"


def test_where_as_many_runs_are_in_one_state_as_in_another_the_first_run_decides() -> None:
    spec = api.load_study("quickstart")
    majority = Baseline(label="majority class", test_accuracy=0.5, trained_on=1, predictions=(0,) * 60)
    part = PreparedPart(fingerprint="", sizes={"train": 160, "validation": 16}, baselines={"majority": majority})
    prepared = SimpleNamespace(label_names=("no", "yes"), model_width=64, part=lambda _: part)
    runs = [scored_run(), diverged_run(1.0, None)]
    for order, state in ((runs, "not learned"), (runs[::-1], "diverged")):
        found = SimpleNamespace(task=SingleLabel, spec=spec, prepared=prepared, runs=order, trials=[])
        learning = learning_of(cast("Any", found), "full")
        assert learning is not None
        assert (learning.state, learning.runs, learning.not_learned) == (state, 2, 2)


@pytest.mark.long
@pytest.mark.parametrize(("epochs", "seeds"), [(2, 2), (40, 1)], ids=["2 epochs", "40 epochs"])
def test_labels_that_follow_from_nothing(
    tiny_model: Path, tmp_path: Path, tuneoff: Command, epochs: int, seeds: int
) -> None:
    draw = random.Random(0)
    for name, first in (("train", 0), ("test", 1000)):
        rows = reviews(80, seed=first, first_row=first)
        rows["label"] = [draw.choice(("yes", "no")) for _ in range(len(rows))]
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    arms = ['method = "full"\nlearning_rate = 2e-3', 'method = "lora"\nlearning_rate = 2e-2']
    summary, _ = run(study_toml(tiny_model, tmp_path, arms, seeds=seeds, epochs=epochs), tmp_path, tuneoff)
    assert "learned" not in states(summary).values()
    if epochs == 40:
        assert states(summary)["full"] == "no better than guessing"
        assert "the labels do not follow from the texts" in sentence(summary, "full")


@pytest.mark.long
def test_an_arm_that_learned_too_little_is_told_so(tiny_model: Path, tmp_path: Path, tuneoff: Command) -> None:
    for name, count, first in (("train", 320, 0), ("test", 120, 1000)):
        rows = reviews(count, seed=first, first_row=first)
        rows["label"] = rows["label"].map({0: "no", 1: "yes"})
        rows.loc[:: count // 6 if name == "test" else 40, "label"] = "per<haps"
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    arms = ['method = "full"\nlearning_rate = 2e-3', 'method = "full"\nname = "lazy"\nlearning_rate = 1e-6']
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, tmp_path, arms, seeds=1, epochs=2))
    assert tuneoff("run", "study.toml", "--out", "out").returncode == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert states(summary) == {"full": "learned", "lazy": "not learned"}
    falling, never = summary["notes"][:2]
    assert falling.startswith(
        "The training loss was still falling steeply over the last two fifths of the steps: full (from"
    )
    assert "More training.epochs, or a higher learning rate," in falling
    assert never.startswith("full never answers 'per<haps' (6 test examples).")
    assert "rare classes" in never
    assert not any("lazy" in note for note in (falling, never)), "of that one more is said elsewhere"
    page, markdown = ((tmp_path / "out" / name).read_text() for name in ("report.html", "report.md"))
    for text in (page, markdown):
        assert falling in text
        assert "full never answers" in text
        assert "per<haps" not in text


@pytest.mark.parametrize(
    ("late", "curve", "said"),
    [
        ([0.6, 0.4], [0.7, 0.5], True),
        ([0.6, 0.56], [0.7, 0.5], False),
        ([0.6, 0.4], [0.5, 0.7], False),
        ([0.3, 0.1], [0.7, 0.5], False),
    ],
    ids=["steep", "level", "validation has turned", "little is left to learn"],
)
def test_a_loss_is_said_to_fall_only_where_it_clearly_does(late: list[float], curve: list[float], said: bool) -> None:
    result = scored_run(
        guess_loss=math.log(2),
        loss_trace=tuple((step, late[0] if step <= 20 else late[1]) for step in range(1, 26)),
        curve=tuple(curve_point(validation_loss=loss) for loss in curve),
    )
    results = SimpleNamespace(
        runs=[result, result],
        prepared=SimpleNamespace(label_names=("no", "yes")),
        spec=SimpleNamespace(arms=[]),
        task=SingleLabel,
        predictions=lambda _: [None],
        answers_of=lambda _: (np.repeat([0, 1], 9), np.repeat([0, 1], 9)),
    )
    (arm,) = arm_entries([np.ones((2, 9))], ["full"])
    assert bool(underfitting_notes(cast("Any", results), [arm])) == said


@pytest.mark.long
def test_twenty_rows_are_too_few_steps(tiny_model: Path, tmp_path: Path, tuneoff: Command) -> None:
    reviews(20, seed=5).to_csv(tmp_path / "all.csv", index=False)
    answer = tuneoff("init", "all.csv", "--model", tiny_model)
    assert answer.returncode == 0, answer.stderr
    written = (tmp_path / "all.toml").read_text()
    toml = written.replace("epochs = 10", "epochs = 3")
    assert toml != written
    summary, _ = run(toml, tmp_path, tuneoff)
    assert "learned" not in states(summary).values()
    assert all("3 steps are too few" in sentence(summary, arm) for arm in states(summary))
