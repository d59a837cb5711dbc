"""Tuning: as many learning rates for each arm, chosen on validation, before any test example is read."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tuneoff as api
from conftest import Command, study_toml
from tuneoff.study.plan import Run
from tuneoff.study.run import Silent
from tuneoff.study.tuning import grid

ARMS = ['method = "full"\nlearning_rate = 3e-3', 'method = "lora"\nlearning_rate = 1e-3']


@pytest.fixture(scope="module")
def study(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuning") / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ARMS, seeds=2) + "\n[tuning]\ntrials = 3\n")
    return path


class Hider(Silent):
    """Takes the test split away while trials run, and brings it back for the first run that is none."""

    def __init__(self, data: Path) -> None:
        self.test, self.hidden = data / "test", data / "hidden"
        self.started: list[Run] = []
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def run_started(self, run: Run) -> None:
        self.started.append(run)
        if run.trial and self.test.exists():
            self.test.rename(self.hidden)
        if not run.trial and self.hidden.exists():
            self.hidden.rename(self.test)


@pytest.fixture(scope="module")
def tuned(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[api.StudyResults, Hider]:
    out = tmp_path_factory.mktemp("tuned") / "out"
    hider = Hider(out / "data")
    return api.run_study(api.load_study(study), out, hider), hider


def test_no_trial_reads_a_test_example(tuned: tuple[api.StudyResults, Hider]) -> None:
    results, hider = tuned
    kinds = [run.trial for run in hider.started]
    assert kinds == [True] * 6 + [False] * 4
    assert not results.failed
    for trial in results.trials:
        assert trial["status"] == "ok"
        assert not [name for name in trial if name.startswith("test_")]
        folder = results.folder / "runs" / trial["run_id"]
        assert not (folder / "predictions.parquet").exists()


def test_a_run_that_is_no_trial_fails_without_the_test_split(
    tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    """So the test above could fail."""
    path = tmp_path / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ["full"], seeds=1))

    class Thief(Silent):
        def run_started(self, run: Run) -> None:
            (tmp_path / "out" / "data" / "test").rename(tmp_path / "out" / "data" / "hidden")

    (failed,) = api.run_study(api.load_study(path), tmp_path / "out", Thief()).failed
    assert "No such file" in failed["error"]


def test_every_arm_has_as_many_trials_and_runs_at_the_rate_that_validation_chose(
    tuned: tuple[api.StudyResults, Hider],
) -> None:
    results, _ = tuned
    assert Counter(trial["arm"] for trial in results.trials) == {"full": 3, "lora": 3}
    tuning = results.summary["tuning"]
    for entry, centre in zip(tuning["arms"], (3e-3, 1e-3), strict=True):
        assert [trial["learning_rate"] for trial in entry["trials"]] == grid(centre, 3)
        best = max(entry["trials"], key=lambda trial: (trial["validation_accuracy"], -trial["validation_loss"]))
        assert entry["chosen"] == best["learning_rate"]
        assert entry["at_edge"] == (entry["chosen"] != centre)
        assert {run["learning_rate"] for run in results.of_arm(entry["arm"])} == {entry["chosen"]}
        trained = sum(trial["train_seconds"] for trial in results.trials if trial["arm"] == entry["arm"])
        assert entry["train_seconds"] == pytest.approx(trained)
    assert {trial["seed"] for trial in results.trials} == {0}


def test_a_tuned_study_goes_on_without_repeating_anything(
    tuned: tuple[api.StudyResults, Hider], study: Path, tuneoff: Command
) -> None:
    results, _ = tuned
    answer = tuneoff("run", study, "--out", results.folder)
    assert answer.returncode == 0, answer.stderr
    assert "nothing to train" in answer.stdout
    states = json.loads(tuneoff("status", results.folder, "--json").stdout)["runs"]
    assert Counter(state["state"] for state in states) == {"ok": 10}
    shown = tuneoff("status", results.folder)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("trial of") == 6
    assert shown.stdout.count("validation ") == 6
    page = (results.folder / "report.md").read_text()
    assert "Learning rates" in page
    for entry in results.summary["tuning"]["arms"]:
        assert f"{entry['chosen']:g}" in page


def run(toml: str, folder: Path) -> api.StudyResults:
    (folder / "study.toml").write_text(toml)
    return api.run_study(api.load_study(folder / "study.toml"), folder / "out")


def test_the_plan_counts_trials(study: Path, tuneoff: Command) -> None:
    plan = json.loads(tuneoff("plan", study, "--json").stdout)
    assert plan["runs"] == 4
    assert plan["trials"] == {"runs": 6, "steps": 6 * plan["steps_per_run"], "extensions": 0}
    shown = tuneoff("plan", study, "--set", "tuning.extend=true").stdout
    assert "before these 6 trials of learning rates" in shown
    assert "up to 8 more" in shown


def test_a_winner_at_the_edge_extends_the_grid(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    arm = 'method = "full"\nlearning_rate = 1e-4'
    toml = study_toml(tiny_model, data_files, [arm], seeds=1, epochs=3) + "\n[tuning]\ntrials = 3\nextend = true\n"
    results = run(toml, tmp_path)
    (entry,) = results.summary["tuning"]["arms"]
    rates = [trial["learning_rate"] for trial in entry["trials"]]
    assert len(rates) > 3
    assert rates[:3] == grid(1e-4, 3)
    assert all(later / earlier == pytest.approx(10**0.5, rel=0.05) for earlier, later in pairwise(rates))


def test_optuna_stays_in_the_range_and_goes_on_as_it_would_have(
    tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (the extra 'optuna')")
    arm = 'method = "full"\nlearning_rate = 1e-3\nlearning_rate_range = [1e-4, 1e-2]'
    toml = study_toml(tiny_model, data_files, [arm], seeds=1, epochs=1)
    toml += '\n[tuning]\ntrials = 4\nstrategy = "optuna"\n'
    results = run(toml, tmp_path)
    rates = [trial["learning_rate"] for trial in results.trials]
    assert len(set(rates)) == 4
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)

    class Stopper(Silent):
        def run_finished(self, run: Run, result: dict[str, Any]) -> None:
            raise RuntimeError("the driver dies here")

    again = tmp_path / "again"
    with pytest.raises(RuntimeError):
        api.run_study(results.spec, again, Stopper())
    assert [trial["learning_rate"] for trial in api.run_study(results.spec, again).trials] == rates


def test_a_rate_that_fails_is_not_chosen(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    arm = 'method = "full"\nlearning_rate = 300'
    results = run(study_toml(tiny_model, data_files, [arm], seeds=1) + "\n[tuning]\ntrials = 3\n", tmp_path)
    (entry,) = results.summary["tuning"]["arms"]
    failed = [trial for trial in entry["trials"] if trial["validation_accuracy"] is None]
    worked = [trial for trial in entry["trials"] if trial["validation_accuracy"] is not None]
    if failed and worked:
        assert entry["chosen"] in [trial["learning_rate"] for trial in worked]
    assert len(entry["trials"]) == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("trials = 0", "greater than or equal to 1"),
        ("trials = 16", "a grid has at most 15 trials"),
        ("trials = 2\nseeds = 5", "tuning.seeds = 5, but the study has 1 seed"),
        ('trials = 2\nstrategy = "optuna"\nextend = true', "extend"),
    ],
)
def test_what_cannot_be_tuned_is_said_in_one_line(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command, lines: str, message: str
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ["full"], seeds=1) + f"\n[tuning]\n{lines}\n")
    answer = tuneoff("run", path)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (tmp_path / "studies-out").exists()


def test_a_decoder_starts_from_the_rates_published_for_decoders(
    data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    from transformers import GPT2Config, GPT2Model

    from conftest import save_tokenizer

    words = save_tokenizer(tmp_path / "gpt2")
    GPT2Model(GPT2Config(vocab_size=words, n_embd=32, n_layer=1, n_head=2, n_positions=64)).save_pretrained(
        tmp_path / "gpt2"
    )
    arms = ["full", "lora", "ia3", 'method = "lora"\nname = "own"\nlearning_rate = 5e-4']
    (tmp_path / "study.toml").write_text(study_toml(tmp_path / "gpt2", data_files, arms))
    answer = tuneoff("plan", "study.toml", "--json")
    assert answer.returncode == 0, answer.stderr
    rates = [arm["learning_rate"] for arm in json.loads(answer.stdout)["arms"]]
    assert rates == [2e-5, 2e-4, 3e-3, 5e-4]
