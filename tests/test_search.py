"""The search for learning rates, on made-up trials: where it goes next, what it chooses, and what is said of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

import tuneoff as api
from stored import diverged_run, plan_entry, scored_run, unfinished_run
from tuneoff.analysis.tuning import few_validation_examples
from tuneoff.records.state import RunState
from tuneoff.records.tuning import TuningSummary
from tuneoff.report import words
from tuneoff.report.live import study_line
from tuneoff.report.tally import Tally
from tuneoff.report.trials import sentences
from tuneoff.runs.progress import RunProgress
from tuneoff.study.ahead import Ahead
from tuneoff.study.search import Trial, best, grid, proposals, scores, too_high, trial_steps
from tuneoff.study.search_optuna import OptunaSearch
from tuneoff.training.signs import Signs


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
