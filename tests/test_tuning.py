"""Tuning: as many learning rates for each arm, chosen on validation, before any test example is read."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tuneoff as api
from conftest import Command, study_toml
from processes import run_process
from stored import dictionaries, dictionary, diverged_run, plan_entry, scored_run, unfinished_run
from tuneoff.analysis.tuning import few_validation_examples
from tuneoff.records.run import RunResult
from tuneoff.records.state import RunState
from tuneoff.records.tuning import TuningSummary
from tuneoff.report import words
from tuneoff.report.live import study_line
from tuneoff.report.tally import Tally
from tuneoff.report.trials import sentences
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.run import Run
from tuneoff.study.ahead import Ahead
from tuneoff.study.listener import Silent
from tuneoff.study.search import Trial, best, grid, proposals, scores, too_high, trial_steps
from tuneoff.study.search_optuna import OptunaSearch
from tuneoff.training.signs import Signs

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


def tried(rate: float, accuracy: float, loss: float, final: float | None = None, largest: float = 1.0) -> Trial:
    """A trial of a task whose loss of guessing is 1."""
    return Trial(rate, accuracy, accuracy, loss, 1.0, Signs(1.0, largest, loss if final is None else final))


def settings(trials: int = 3) -> Any:
    return api.load_study("quickstart", [f"tuning.trials={trials}"]).tuning


def test_the_search_goes_beyond_an_edge_until_the_best_is_inside() -> None:
    done = [tried(rate, accuracy, 1 - accuracy) for rate, accuracy in zip(grid(1e-3, 3), (0.6, 0.7, 0.9), strict=True)]
    assert proposals(settings(), 1e-3, done) == [1e-2]
    done.append(tried(1e-2, 0.99, 0.01))
    assert proposals(settings(), 1e-3, done) == [3.2e-2]
    done.append(tried(3.2e-2, 0.9, 0.3))
    assert proposals(settings(), 1e-3, done) == [5.6e-3, 1.8e-2], "then it looks beside the best"
    assert proposals(settings(), 1e-3, [*done, tried(5.6e-3, 0.94, 0.06), tried(1.8e-2, 0.6, 0.9)]) == []


def test_a_rate_a_whole_step_below_a_collapse_is_not_taken_for_its_luck() -> None:
    """Neighbours were looked at beside 1.2e-3 only: its own were worse than those that 1.2e-2 was not compared with."""
    done = [
        tried(3.8e-4, 0.667, 0.993, final=0.99),
        tried(6.7e-4, 0.708, 0.984, final=0.99),
        tried(1.2e-3, 0.771, 0.764),
        tried(2.1e-3, 0.771, 0.852),
        tried(3.7e-3, 0.729, 0.834),
        tried(1.2e-2, 0.771, 0.748),
        tried(3.8e-2, 0.5, 1.0, final=1.0),
    ]
    assert best(done) == 2.1e-3


def test_a_rate_that_learned_nothing_is_best_only_where_none_learned() -> None:
    constant = [tried(4e-4, 0.613, 1.02, final=0.97), tried(7e-4, 0.58, 0.99, final=1.0, largest=1.4)]
    learning = tried(2e-4, 0.55, 1.04, final=0.9)
    assert best([learning, *constant]) == 2e-4
    assert too_high([learning, *constant]) == {4e-4, 7e-4}
    assert best(constant) == 4e-4
    assert too_high(constant) == {7e-4}
    sure_at_last = tried(1e-4, 0.62, 0.92, final=0.97)
    assert sure_at_last.learned


def test_of_two_rates_that_do_equally_well_the_one_far_from_a_collapse_is_taken() -> None:
    done = [tried(1e-3, 0.8, 0.2), tried(3.2e-3, 0.9, 0.1), tried(1e-2, 0.9, 0.1), tried(3.2e-2, 0.5, 1.0)]
    assert best(done) == 3.2e-3


def summarised(**arm: Any) -> TuningSummary:
    """A summary's tuning of one arm, in which 1e-3 was chosen and 2e-3 had the higher accuracy."""
    trials = [
        {"learning_rate": rate, "validation_score": accuracy, "validation_accuracy": accuracy, "validation_loss": 0.5,
         "score": 0.1, "steps": 9, "learned": True, "too_high": False}
        for rate, accuracy in ((1e-3, 0.8), (2e-3, 0.85))
    ]  # fmt: skip
    one = {"arm": "full", "part": "", "chosen": 1e-3, "at_edge": False, "trials": trials, "passed_over": None,
           "train_seconds": 1.0, **arm}  # fmt: skip
    tuning = {"strategy": "grid", "seeds": [0], "runs": 2, "train_seconds": 1.0, "wall_seconds": 2.0}
    return TuningSummary.model_validate({**tuning, "untuned": [], "few_validation": None, "arms": [one]})


def test_a_more_accurate_rate_that_is_passed_over_is_named_with_the_reason() -> None:
    assert not [line for line in sentences(summarised(), "accuracy") if "more accurate" in line]
    for because, why in (("loss", "its validation loss is lower"), ("neighbours", "a rate beside that one did worse")):
        other = {"learning_rate": 2e-3, "validation_score": 0.85, "because": because}
        (line,) = [line for line in sentences(summarised(passed_over=other), "accuracy") if "more accurate" in line]
        assert line.startswith("full runs at 0.001, though 0.002 was more accurate on validation (85.0%, not 80.0%)")
        assert why in line


def test_the_score_is_what_the_choice_goes_by() -> None:
    done = [tried(1e-3, 0.8, 0.2), tried(3.2e-3, 0.9, 0.1), tried(1e-2, 0.9, 0.1), tried(3.2e-2, 0.5, 1.0)]
    found = scores(done)
    assert list(found) == [trial.rate for trial in done]
    assert min(found, key=lambda rate: found[rate]) == best(done)
    assert found[1e-2] == pytest.approx((0.1 - 0.9) + 0.25 * ((1 - 0.5) - (0.1 - 0.9)))
    assert 5.0 not in scores([*done, Trial(5.0, None, None, None, None, None)])


@pytest.mark.parametrize(
    ("train", "validation", "said"),
    [(900, 100, None), (900, 99, "data.validation_size = 100"), (300, 40, "for 100 or more give more rows")],
)
def test_few_validation_examples_are_said_where_they_are_few(train: int, validation: int, said: str | None) -> None:
    sentence = few_validation_examples([{"train": 5000, "validation": 500}, {"train": train, "validation": validation}])
    assert sentence == said if said is None else said in str(sentence)


def test_the_search_goes_up_while_nothing_learns_and_down_where_all_is_too_high() -> None:
    still = [tried(rate, 0.5, 0.999) for rate in grid(1e-5, 3)]
    assert proposals(settings(), 1e-5, still) == [1e-4]
    for rate in (1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2, 3.2e-2):
        still.append(tried(rate, 0.5, 0.999))
    assert proposals(settings(), 1e-5, still) == [], "the budget ends"
    collapsed = [tried(rate, 0.5, 1.0, largest=2.0) for rate in grid(1e-1, 3)]
    assert proposals(settings(), 1e-1, collapsed) == [1e-2]
    between = [tried(1e-3, 0.5, 0.999), tried(3.2e-3, 0.5, 1.0), tried(1e-2, 0.5, 1.0, largest=2.0)]
    assert proposals(settings(), 3.2e-3, between) == [5.6e-3], "between one that does nothing and one that is too high"
    assert proposals(settings(), 3.2e-3, [*between, tried(5.6e-3, 0.5, 0.999)]) == []


def test_an_arm_that_fails_is_not_tried_at_ever_higher_rates() -> None:
    failed = [Trial(rate, None, None, None, None, None) for rate in grid(1e-3, 3)]
    assert proposals(settings(), 1e-3, failed) == []
    assert proposals(settings(), 1e-3, [*failed[:2], tried(3.2e-3, 0.5, 0.999)]) == [1e-2]


def test_a_rate_is_too_high_where_it_is_for_one_of_its_seeds() -> None:
    ended, diverged = scored_run(), diverged_run(1.0, None)
    for results in ([ended, diverged], [diverged, ended]):
        assert Trial.of(1e-3, results).too_high
    assert not Trial.of(1e-3, [ended, unfinished_run("oom")]).too_high


def test_a_trial_is_a_quarter_of_a_run_but_no_stub() -> None:
    assert [trial_steps(steps) for steps in (3, 81, 100, 250, 400, 4000)] == [3, 81, 100, 100, 100, 1000]


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


def test_optuna_tries_no_rate_twice_and_ends_where_none_is_left() -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (the extra 'optuna')")
    spec = api.load_study("quickstart", ["tuning.trials=60", "tuning.strategy=optuna"])
    arm = spec.arms[1].model_copy(update={"learning_rate": 1e-3, "learning_rate_range": (2e-4, 5e-3)})

    def walk(arm: Any) -> list[Trial]:
        search, done = OptunaSearch(spec.tuning, arm), list[Trial]()
        while rates := search.proposals(done):
            done += [tried(rate, 0.9 - abs(math.log10(rate / 1e-3)) / 4, 0.3) for rate in rates]
        return done

    done = walk(arm)
    assert len({trial.rate for trial in done}) == 60
    near = [trial.rate for trial in done[30:] if 5e-4 < trial.rate < 2e-3]
    assert len(near) > 15, "it looks where the rates are good"
    assert OptunaSearch(spec.tuning, arm).proposals(done[:41]) == [done[41].rate], "as after an interruption"
    narrow = walk(arm.model_copy(update={"learning_rate_range": (9.7e-4, 1.2e-3)}))
    assert sorted(trial.rate for trial in narrow) == [9.7e-4, 9.8e-4, 9.9e-4, 1e-3, 1.1e-3, 1.2e-3]


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


def test_what_is_left_is_counted_with_what_will_be_planned() -> None:
    trial = plan_entry(steps=100, trial=True)
    trials = Tally.of(
        [
            RunState(trial, result=scored_run(train_seconds=10.0, wall_seconds=12.0)),
            RunState(trial, result=diverged_run(1.0, 9.0)),
            RunState(trial, RunProgress(50, seconds_per_step=0.1).entry(100)),
        ]
    )
    ahead = Ahead(trials=2, runs=4, steps=2 * 100 + 4 * 400, may_grow=True)
    line = study_line(trials, ahead)
    assert line.startswith("3 trials: 2 done (1 trial diverged), 1 running, 0 failed, 0 left")
    assert "then 2 or more trials and 4 runs" in line
    seconds = (50 + 200 + 1600) * 0.1 + (0.5 + 2 + 4) * 2
    assert line.endswith(f"; at least {words.duration(seconds)} left")
    assert "then 4 runs, with more trials before them if need be" in study_line(trials, Ahead(0, 4, 1600, True))
    alone = Tally.of([RunState(plan_entry(steps=20), RunProgress(0, seconds_per_step=1.0).entry(20))])
    assert study_line(alone, Ahead()) == "1 run: 0 done, 1 running, 0 failed, 0 left; about 20.0 s left"


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
