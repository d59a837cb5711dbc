"""`tuneoff plan --probe`: what a study takes on this machine, from a few real steps of each arm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Command, study_toml

ARMS = ['method = "full"', 'method = "lora"\nlearning_rate = 1e-3', 'method = "frozen_features"']
PRICED = '[analysis]\nprice_per_hour = 3.6\ncurrency = "EUR"\n'


@pytest.fixture
def study(tiny_model: Path, data_files: Path, tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    tuned = study_toml(tiny_model, data_files, ARMS, tuning="trials = 3")
    path.write_text(tuned.replace("[tuning]", f"{PRICED}[tuning]"))
    return path


def test_arms_are_timed_and_the_study_is_their_sum(study: Path, tmp_path: Path, tuneoff: Command) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = tuneoff("plan", study, "--probe", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    probed = json.loads(done.stdout)
    assert sorted(tmp_path.rglob("*")) == before
    arms = {arm["arm"]: arm for arm in probed["arms"]}
    assert [arms[name]["trial"] is not None for name in ("full", "lora", "frozen_features")] == [True, False, False]
    assert arms["frozen_features"]["step"] is None
    for arm in arms.values():
        assert arm["why_not"] is None
        assert arm["run"] > arm["setup"] > 0
    assert arms["full"]["run"] >= arms["full"]["setup"] + arms["full"]["step"]
    planned = json.loads(tuneoff("plan", study, "--json").stdout)
    assert (probed["runs"], probed["trials"]) == (planned["runs"], planned["trials"]["runs"])
    runs = 2 * sum(arm["run"] for arm in arms.values())
    trials = arms["full"]["trial"]
    assert probed["seconds"] == pytest.approx(runs + planned["trials"]["runs"] * trials)
    assert probed["most_seconds"] == pytest.approx(probed["seconds"] + planned["trials"]["extensions"] * trials)
    assert probed["cost"] == pytest.approx(probed["seconds"] / 1000)
    assert probed["at_once"] == 1


def test_what_an_arm_cannot_do_is_told_and_the_others_are_timed(study: Path, tuneoff: Command) -> None:
    study.write_text(study.read_text().replace("learning_rate = 1e-3", "learning_rate = 1e6"))
    done = tuneoff("plan", study, "--probe", "--set", "training.max_grad_norm=1e9")
    assert done.returncode == 0, done.stderr
    assert "Probing full" in done.stdout
    assert "a step" in done.stdout
    assert "lora: the training loss" in done.stdout
    assert "cannot be said, since not every arm could be tried" in done.stdout


def test_words_say_how_long(study: Path, tuneoff: Command) -> None:
    done = tuneoff("plan", study, "--probe", "--set", "execution.workers=2")
    assert done.returncode == 0, done.stderr
    assert "2 at once" in done.stdout
    assert "about " in done.stdout
    assert "EUR, beside the report" in done.stdout


def test_one_question_at_a_time(study: Path, tuneoff: Command) -> None:
    done = tuneoff("plan", study, "--probe", "--gpu-memory", "24GB")
    assert done.returncode == 2
    assert "one at a time" in done.stderr


def test_each_training_size_counts_for_itself(study: Path, tuneoff: Command) -> None:
    done = tuneoff("plan", study, "--probe", "--json", "--set", "data.train_sizes=[24, 96]", "--set", "tuning.trials=1")
    assert done.returncode == 0, done.stderr
    probed = json.loads(done.stdout)
    assert probed["runs"] == 2 * 2 * 3
    # An arm's own line is of the largest size, which comes first; the other takes less.
    of_largest = 2 * sum(arm["run"] for arm in probed["arms"])
    assert of_largest < probed["seconds"] < 2 * of_largest
