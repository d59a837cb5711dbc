"""Tuning: as many learning rates for each arm, chosen on validation, before any test example is read."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import tuneoff as api
from conftest import Command, study_toml
from processes import run_process
from stored import dictionaries, dictionary
from tuneoff.records.run import RunResult
from tuneoff.report.trials import sentences
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.run import Run
from tuneoff.study.listener import Silent
from tuneoff.study.search import trial_steps

ARMS = ["full", "lora"]


@pytest.fixture(scope="module")
def study(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuning") / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ARMS, seeds=2, tuning="", epochs=4))
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
    return api.run_study(api.load_study(study), out, hider, report=False), hider


def test_no_trial_reads_a_test_example(tuned: tuple[api.StudyResults, Hider]) -> None:
    results, hider = tuned
    kinds = [run.trial for run in hider.started]
    trials = kinds.index(False)
    assert trials >= 10
    assert kinds[trials:] == [False] * 4
    assert not results.failed
    for trial in dictionaries(results.trials):
        assert trial["status"] == "ok"
        assert not [name for name in trial if name.startswith("test_")]
        folder = results.folder / "runs" / trial["run_id"]
        assert not (folder / "predictions.parquet").exists()


def test_before_a_trial_has_ended_nothing_is_said_of_any(tuned: tuple[api.StudyResults, Hider]) -> None:
    results, _ = tuned
    assert results.summary.tuning is not None
    assert replace(results, runs=[], trials=[]).summary.tuning is None


def test_a_run_that_is_no_trial_fails_without_the_test_split(
    tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    """So the test above could fail."""
    path = tmp_path / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ["full"], seeds=1))

    class Thief(Silent):
        def run_started(self, run: Run) -> None:
            (tmp_path / "out" / "data" / "test").rename(tmp_path / "out" / "data" / "hidden")

    (failed,) = api.run_study(api.load_study(path), tmp_path / "out", Thief(), report=False).failed
    assert "No such file" in failed.error


def test_every_arm_has_as_many_trials_and_runs_at_the_rate_that_validation_chose(
    tuned: tuple[api.StudyResults, Hider],
) -> None:
    results, _ = tuned
    tuning = dictionary(results.summary)["tuning"]
    assert [entry["arm"] for entry in tuning["arms"]] == ["full", "lora"]
    for entry in tuning["arms"]:
        tried = [trial["learning_rate"] for trial in entry["trials"]]
        assert 5 <= len(tried) <= 9
        steps = [later / earlier for earlier, later in pairwise(tried)]
        assert all(
            step == pytest.approx(10**0.5, rel=0.06) or step == pytest.approx(10**0.25, rel=0.06) for step in steps
        )
        assert sum(step < 2.5 for step in steps) >= 2, "the best is looked at from both sides"
        assert entry["chosen"] in tried
        assert entry["at_edge"] == (entry["chosen"] in (tried[0], tried[-1]))
        assert {run.learning_rate for run in results.of_arm(entry["arm"])} == {entry["chosen"]}
        trained = sum(trial["train_seconds"] for trial in dictionaries(results.trials) if trial["arm"] == entry["arm"])
        assert entry["train_seconds"] == pytest.approx(trained)
    assert {trial["seed"] for trial in dictionaries(results.trials)} == {0}


@pytest.mark.long
def test_a_tuned_study_goes_on_without_repeating_anything(
    tuned: tuple[api.StudyResults, Hider], study: Path, tuneoff: Command
) -> None:
    results, _ = tuned
    answer = tuneoff("run", study, "--out", results.folder)
    assert answer.returncode == 0, answer.stderr
    assert "nothing to train" in answer.stdout
    states = json.loads(tuneoff("status", results.folder, "--json").stdout)["runs"]
    trials = len(results.trials)
    assert Counter(state["state"] for state in states) == {"ok": trials + 4}
    shown = tuneoff("status", results.folder)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("trial of") == trials
    assert shown.stdout.count("validation ") == trials
    page = (results.folder / "report.md").read_text()
    assert "Learning rates" in page
    assert "score (lower is better)" in page
    assert page.count("16 validation examples cannot choose finely") == 1
    for entry in dictionary(results.summary)["tuning"]["arms"]:
        assert f"{entry['chosen']:g}" in page


def run(toml: str, folder: Path) -> api.StudyResults:
    (folder / "study.toml").write_text(toml)
    return api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)


@pytest.mark.long
def test_the_plan_counts_trials_and_their_cost(study: Path, tuneoff: Command) -> None:
    plan = json.loads(tuneoff("plan", study, "--json").stdout)
    assert plan["runs"] == 4
    few = plan["trials"].pop("few_validation")
    assert plan["trials"] == {"runs": 10, "steps": 10 * trial_steps(plan["steps_per_run"]), "extensions": 8}
    assert few.startswith("16 validation examples cannot choose finely between learning rates")
    assert "give more rows" in few
    assert "validation_size" not in few, "so few rows cannot spare any"
    assert [arm["tuned"] for arm in plan["arms"]] == [True, True]
    shown = tuneoff("plan", study, "--set", "arms.full.learning_rate=1e-3").stdout
    assert "before these 5 trials of learning rates" in shown
    assert "up to 4 more" in shown
    assert "16 validation examples cannot choose finely" in " ".join(shown.split())
    assert "found, from" in shown
    assert "trials" not in tuneoff("plan", study, "--set", "tuning.trials=1").stdout


def test_a_rate_that_the_study_names_is_taken_as_it_is(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    arms = ['method = "full"\nlearning_rate = 2.5e-3', "ia3"]
    results = run(study_toml(tiny_model, data_files, arms, seeds=1, tuning="trials = 2"), tmp_path)
    assert {trial["arm"] for trial in dictionaries(results.trials)} == {"ia3"}
    assert {run.learning_rate for run in results.of_arm("full")} == {2.5e-3}
    assert dictionary(results.summary)["tuning"]["untuned"] == ["full"]
    assert results.summary.tuning is not None
    said = " ".join(sentences(results.summary.tuning, "accuracy"))
    assert "less validation accuracy, with a share" in said
    assert "Not tuned, since the study names its learning rate: full." in said


@pytest.mark.long
def test_optuna_stays_in_the_range_and_goes_on_as_it_would_have(
    tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (the extra 'optuna')")
    arm = 'method = "full"\nlearning_rate_range = [1e-4, 1e-2]'
    tuning = 'trials = 4\nstrategy = "optuna"'
    toml = study_toml(tiny_model, data_files, [arm], seeds=1, tuning=tuning, epochs=1)
    results = run(toml, tmp_path)
    rates = [trial["learning_rate"] for trial in dictionaries(results.trials)]
    assert len(set(rates)) == 4
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)

    class Stopper(Silent):
        def run_finished(self, run: Run, result: RunResult) -> None:
            raise RuntimeError("the driver dies here")

    again = tmp_path / "again"
    with pytest.raises(RuntimeError):
        api.run_study(results.spec, again, Stopper(), report=False)
    assert [
        trial["learning_rate"] for trial in dictionaries(api.run_study(results.spec, again, report=False).trials)
    ] == rates


@pytest.mark.long
def test_a_rate_that_diverges_is_given_up_at_once_and_not_chosen(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    arm = 'method = "full"\nlearning_rate_range = [1e-3, 900]'
    (tmp_path / "study.toml").write_text(
        study_toml(tiny_model, data_files, [arm], seeds=1, tuning='trials = 6\nstrategy = "optuna"')
    )
    answer = tuneoff("run", "--no-report", "study.toml", "--out", "out")
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"diverged at step \d+ of 36; the search goes on without this rate", answer.stdout)
    assert "smaller learning rate" not in answer.stdout
    assert "1 of 1 trial to train, 36 steps, then 5 further trials and 1 run" in answer.stdout
    results = api.load_results(tmp_path / "out")
    (entry,) = dictionary(results.summary)["tuning"]["arms"]
    given_up = [trial for trial in dictionaries(results.trials) if trial["status"] == "diverged"]
    assert given_up
    assert all(len(trial["loss_trace"]) < 25 for trial in given_up)
    assert entry["chosen"] not in [trial["learning_rate"] for trial in given_up]
    assert not results.failed_trials
    many = f"{len(given_up)} trial{'s' if len(given_up) > 1 else ''} diverged"
    assert f"6 trials and 1 run: 7 done ({many}), 0 running, 0 failed, 0 left" in tuneoff("status", "out").stdout
    again = tuneoff("retry", "out")
    assert "nothing to train" in again.stdout, "a rate that is too high is a result"


class Assassin(Silent):
    """Kills the process of the first trial that takes a step."""

    def __init__(self) -> None:
        self.started: list[Run] = []
        self.killed: Run | None = None

    def run_started(self, run: Run) -> None:
        self.started.append(run)

    def progressed(self, run: Run, progress: RunProgress) -> None:
        if run.trial and progress.steps and self.killed is None:
            self.killed = run
            run_process(os.getpid(), run.id).kill()


@pytest.mark.long
def test_a_trial_whose_process_is_killed_has_failed_and_the_same_command_tries_it_again(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    toml = study_toml(tiny_model, data_files, ["full"], seeds=1, tuning="trials = 2", epochs=6)
    (tmp_path / "study.toml").write_text(toml)
    assassin = Assassin()
    results = api.run_study(api.load_study(tmp_path / "study.toml"), tmp_path / "out", assassin, report=False)
    assert assassin.killed is not None
    (failed,) = results.failed_trials
    assert failed.run_id == assassin.killed.id
    assert not results.failed, "the study goes on without it"
    shown = tuneoff("status", "out").stdout
    assert "1 failed" in shown
    again = tuneoff("run", "--no-report", "study.toml", "--out", "out")
    assert again.returncode == 0, again.stderr
    assert re.search(r"1 of \d+ trials to train", again.stdout)
    assert not api.load_results(tmp_path / "out").failed_trials


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("trials = 0", "greater than or equal to 1"),
        ("trials = 16", "a grid has at most 15 trials"),
        ("trials = 2\nseeds = 5", "tuning.seeds = 5, but the study has 1 seed"),
        ("trials = 2\nextend = true", "unknown field 'tuning.extend'"),
    ],
)
def test_what_cannot_be_tuned_is_said_in_one_line(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command, lines: str, message: str
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ["full"], seeds=1, tuning=lines))
    answer = tuneoff("run", path)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (tmp_path / "studies-out").exists()


@pytest.mark.long
def test_a_wide_decoder_starts_lower_than_a_narrow_one(data_files: Path, tmp_path: Path, tuneoff: Command) -> None:
    from transformers import GPT2Config, GPT2Model

    from conftest import save_tokenizer

    rates = {}
    for width in (32, 128):
        folder = tmp_path / f"gpt2-{width}"
        words = save_tokenizer(folder)
        config = GPT2Config(vocab_size=words, n_embd=width, n_layer=1, n_head=2, n_positions=64)
        GPT2Model(config).save_pretrained(folder)
        arms = ['method = "full"', 'method = "lora"', 'method = "lora"\nname = "own"\nlearning_rate = 5e-4']
        (tmp_path / "study.toml").write_text(study_toml(folder, data_files, arms))
        answer = tuneoff("plan", "study.toml", "--json")
        assert answer.returncode == 0, answer.stderr
        rates[width] = [arm["learning_rate"] for arm in json.loads(answer.stdout)["arms"]]
    assert rates[32][:2] == pytest.approx([4 * rate for rate in rates[128][:2]], rel=0.1)
    assert rates[32][1] == pytest.approx(33 * rates[32][0], rel=0.1)
    assert rates[32][2] == rates[128][2] == 5e-4
