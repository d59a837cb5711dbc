"""The recommendation, the Pareto front and the headlines: on made-up studies of known truth, and on a real tiny one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import tuneoff as api
from conftest import Command, study_toml
from made_up import arm_entries
from simulated import Setting, studies
from stored import altered
from tuneoff.analysis.comparisons import compare_arms, compare_pairs
from tuneoff.analysis.pareto import pareto_fronts
from tuneoff.analysis.recommendation import recommend
from tuneoff.analysis.statistics import Field, mean_interval, paired_difference
from tuneoff.records.arm_summary import FailedRun
from tuneoff.records.recommendation import Excluded, Limits, Preference, Recommendation

NO_LIMITS = Limits()


def _study(seeds: int, wrong: Sequence[int], examples: int = 2000) -> list[NDArray[np.float64]]:
    """Arms that are right everywhere, but for so many examples of their own, the same with every seed."""
    found = []
    for place, count in enumerate(wrong):
        rows = np.ones((seeds, examples))
        rows[:, 100 * place : 100 * place + count] = 0
        found.append(rows)
    return found


def _ask(
    correct: Sequence[NDArray[Any]], prefer: Preference = "memory", margin: float = 0.01, **given: Any
) -> Recommendation:
    limits = Limits(**{name: given.pop(name, None) for name in Limits.model_fields})
    names = "abcdefgh"[: len(correct)]
    unfit = given.pop("unfit", {})
    arms = arm_entries(correct, names, **given)
    compared = compare_arms(arms, dict(zip(names, correct, strict=True)))
    return recommend(arms, compared, margin, prefer, limits, unfit)


@pytest.mark.parametrize(
    "setting",
    [
        # Three cheap arms lose exactly the margin; any of them is a wrong choice. A dear one is the best.
        Setting(3, 2000, (0.89, 0.89, 0.89, 0.9), arm_spread=0.1, seed_spread=0.01, noise=0.2),
        Setting(5, 1500, (0.94, 0.94, 0.95, 0.95), arm_spread=0.2, seed_spread=0.02, noise=0.3),
    ],
)
def test_a_recommended_arm_seldom_loses_the_margin_against_the_true_best(setting: Setting) -> None:
    count = 300
    best = max(setting.accuracies)
    wrong = claims = 0
    for correct in studies(setting, count, generator_seed=7):
        chosen = _ask(correct).arm
        claims += chosen is not None
        wrong += chosen is not None and setting.accuracies["abcd".index(chosen)] <= best - 0.01 + 1e-9
    assert 100 * wrong / count <= 5.5
    assert claims > count / 20  # it does recommend


def test_the_cheapest_of_those_that_are_close_is_recommended() -> None:
    correct = _study(3, [40, 2, 1, 0])
    answer = _ask(correct)
    assert (answer.arm, answer.best, answer.shown) == ("b", "d", ("b", "c", "d"))
    assert answer.ties_with_best == ("c", "b")
    assert "least memory" in answer.reason
    assert "1 point " in answer.reason
    assert _ask(correct, memory=[1, 4, 3, 2]).arm == "d"
    assert _ask(correct, "time", seconds=[[9], [8, 8, 8], [7, 7, 7], [6, 6, 6]]).arm == "d"
    assert _ask(correct, "latency", latency=[1.0, 3.0, 2.0, None]).arm == "c"
    assert _ask(correct, margin=0.05).arm == "a"


def test_what_has_not_ended_is_not_said_to_have_failed() -> None:
    arms = arm_entries([np.ones((0, 9))] * 2, "ab")
    answer = recommend(arms, None, 0.01, "memory", NO_LIMITS, {})
    assert answer.reason == "No run has ended yet."
    assert {entry.why for entry in answer.excluded} == {"no run of it has ended yet"}
    failed = FailedRun(seed=0, part="", status="oom", error="no memory")
    arms[0] = arms[0].model_copy(update={"failed": (failed,)})
    answer = recommend(arms, None, 0.01, "memory", NO_LIMITS, {})
    assert answer.reason == "No run succeeded."
    assert answer.excluded[0].why == "no run of it has succeeded"


def test_limits_leave_arms_out_and_the_claim_is_about_the_others() -> None:
    correct = _study(3, [40, 2, 1, 0])
    answer = _ask(correct, max_memory=1e9)
    assert answer.arm == "a"
    assert "No other arm is within the limits" in answer.reason
    assert {entry.arm for entry in answer.excluded} == {"b", "c", "d"}
    assert _ask(correct, max_memory=1e8).arm is None
    some = _ask(correct, max_train_time=12)
    assert some.arm == "b"
    assert "within the limits" in some.reason
    assert "d" in {entry.arm for entry in some.excluded}
    high = _ask(correct, min_accuracy=0.9995, memory=[1, 2, 3, 4])
    assert high.arm == "c"
    assert "interval begins below" in high.reason
    assert _ask(_study(3, [40, 20]), min_accuracy=0.999).reason == "No arm reaches an accuracy of 99.9%."


def test_nothing_is_claimed_where_nothing_is_known() -> None:
    one_seed = _ask(_study(1, [40, 2, 0]))
    assert one_seed.arm is None
    assert "One seed never ranks" in one_seed.reason
    assert "nothing to compare" in _ask(_study(3, [2])).reason
    some = _study(3, [40, 2, 0])
    some[0] = some[0][:1]
    mixed = _ask(some)
    assert mixed.arm == "b"
    assert "with several seeds" in mixed.reason
    assert Excluded(arm="a", why="it has one seed, which never ranks methods") in mixed.excluded
    shared = _ask(_study(3, [2, 1, 0]), "time", shared=[True, False, False])
    assert shared.arm is None
    assert "cannot be compared" in shared.reason


def test_a_cost_that_was_measured_differently_chooses_no_arm() -> None:
    correct = _study(3, [2, 1, 0])
    assert _ask(correct).arm == "a"
    cases: tuple[tuple[Preference, str], ...] = (("memory", "peak memory"), ("time", "times"))
    for prefer, what in cases:
        apart = _ask(correct, prefer, conditions={"a": {"device": "an older GPU"}})
        assert apart.arm is None
        assert apart.reason == (
            f"The {what} of a, b, c cannot be compared: they were measured under different conditions "
            "(device: an older GPU and a GPU)."
        )
        assert apart.choose_now is not None
        assert apart.choose_now.arm == "c", "the most accurate, since the cheapest is not known"
    assert _ask(correct, "parameters", conditions={"a": {"device": "an older GPU"}}).arm == "a"
    assert _ask(correct, conditions={"a": {"shared device": "yes"}}).arm == "a", "memory does not depend on it"
    newer = _ask(correct, conditions={"c": {"versions.torch": "2.14.0"}})
    assert "versions.torch: 2.13.0 and 2.14.0" in newer.reason
    only_one = _ask(correct, conditions={"a": {"versions.bitsandbytes": "0.48.0"}})
    assert only_one.arm == "a", "a package that only one method needs"


def test_no_clear_winner_says_what_it_would_take() -> None:
    noisy = Setting(3, 4000, (0.9, 0.9), arm_spread=0.1, seed_spread=0.1)
    answer = _ask(next(studies(noisy, 1, generator_seed=8)))
    assert answer.arm is None
    assert answer.more_seeds is not None
    assert answer.more_seeds > 0
    assert answer.reason.startswith("No clear winner yet. To show that an arm loses less than 1 point")
    assert f"about {answer.more_seeds} more seed" in answer.reason
    small = _ask(_study(4, [1, 1], examples=200))
    assert (small.arm, small.more_seeds) == (None, None)
    assert small.test_examples is not None
    assert small.test_examples > 298
    assert "test examples (200 now)" in small.reason


def _fronts(correct: Sequence[NDArray[np.float64]], **costs: Any) -> dict[str, tuple[str, ...]]:
    names = "abcdefgh"[: len(correct)]
    arms = arm_entries(correct, names, **costs)
    compared = compare_arms(arms, dict(zip(names, correct, strict=True)))
    return pareto_fronts(arms, compare_pairs(compared, margin=0.01))


def test_an_arm_is_off_the_front_only_where_it_is_shown_to_be_beaten() -> None:
    tied_and_dear = _fronts(_study(3, [0, 1, 60]))
    assert tied_and_dear["peak_train_memory_bytes"] == ("a", "b")
    assert "inference_latency_seconds" not in tied_and_dear
    idle = _fronts(_study(3, [0, 1, 60]), idle="b")
    assert idle["peak_train_memory_bytes"] == ("a",)
    assert _fronts(_study(3, [60, 0, 1]), idle="abc") == {}
    assert _fronts(_study(1, [0, 1, 60]))["trainable_parameters"] == ("a", "b", "c")
    assert _fronts(_study(3, [0, 60]), memory=[2, 2])["peak_train_memory_bytes"] == ("a",)
    overlapping = {"seconds": [[9.0, 10, 11], [10.5, 12, 13]]}
    assert _fronts(_study(3, [0, 60]), **overlapping)["train_seconds"] == ("a", "b")
    apart = {"seconds": [[9.0, 10, 10.5], [10.5, 12, 13]]}
    assert _fronts(_study(3, [0, 60]), **apart)["train_seconds"] == ("a",)
    assert "train_seconds" not in _fronts(_study(3, [0, 60]), shared=[True, False])
    older = _fronts(_study(3, [0, 60]), conditions={"a": {"device": "an older GPU"}})
    assert set(older) == {"trainable_parameters", "checkpoint_bytes"}


def test_pairs_are_compared_on_the_seeds_that_both_have() -> None:
    a, b = next(studies(Setting(4, 300, (0.9, 0.8)), 1, generator_seed=9))
    arms = arm_entries([a[:3], b[1:]], "ab", seeds=[[0, 1, 2], [1, 2, 3]])
    tables: dict[str, Any] = {"a": a[:3], "b": b[1:]}
    (found,) = compare_pairs(compare_arms(arms, tables), margin=0.02)
    expected = paired_difference(a[1:3], b[1:3])
    assert (found.seeds, found.test_examples) == (2, 300)
    assert found.difference.mean == expected.difference.mean
    assert found.p_sign_flip == expected.sign_flip_p_value
    assert found.lowest_p_sign_flip == 0.5
    assert found.non_inferiority is not None
    assert found.non_inferiority.margin == 0.02


@pytest.fixture(scope="module")
def study_folder(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of three arms, three seeds; two arms learn the task, and one nothing."""
    folder = tmp_path_factory.mktemp("study")
    full = 'method = "full"\nlearning_rate = 3e-3'
    slower = 'method = "full"\nname = "slower"\nlearning_rate = 2e-3'
    lazy = 'method = "head_only"\nname = "lazy"\nlearning_rate = 1e-9'
    (folder / "study.toml").write_text(study_toml(tiny_model, data_files, [full, slower, lazy], seeds=3, epochs=3))
    assert api.run_study(api.load_study(folder / "study.toml"), folder / "out").failed == []
    return folder / "out"


def test_every_number_of_the_summary_comes_from_the_stored_predictions(study_folder: Path) -> None:
    summary = json.loads((study_folder / "summary.json").read_text())
    results = api.load_results(study_folder)
    for arm in summary["arms"]:
        correct = results.correct(arm["arm"])
        assert arm["test_accuracy"] == mean_interval(correct).model_dump()
        assert arm["test_accuracy"]["covers_seeds"]
        classes = arm["by_class"]["classes"]
        assert set(classes) == set(summary["data"]["label_names"])
        assert np.mean([scores["f1"] for scores in classes.values()]) == pytest.approx(arm["test_macro_f1"])
        assert 0 <= arm["expected_calibration_error"] <= 1
        assert 0 <= arm["brier_score"] <= 2
    full, lazy = results.correct("full"), results.correct("lazy")
    against = next(pair for pair in summary["comparisons"] if {pair["a"], pair["b"]} == {"full", "lazy"})
    sign = 1 if against["a"] == "full" else -1
    assert sign * against["difference"]["mean"] == pytest.approx((full - lazy).mean())
    names = ["full", "slower", "lazy"]
    field = Field.measure([results.correct(name) for name in names])
    assert against["p_value"] == pytest.approx(field.p_values[1])
    assert against["p_adjusted"] >= against["p_value"]
    labels = pd.read_parquet(study_folder / "data" / "test.parquet")["label"].to_numpy()
    for line in summary["headlines"]:
        baseline = (np.array(results.prepared.baselines[line["baseline"]].predictions) == labels).mean()
        best = max(arm["test_accuracy"]["mean"] for arm in summary["arms"])
        assert line["difference"]["mean"] == pytest.approx(best - baseline)
        assert (line["verdict"] == "not beaten") == (best <= baseline)
    assert any("60 test examples" in note for note in summary["notes"])
    assert any("Three seeds cannot go below p = 0.25" in note for note in summary["notes"])


def test_an_arm_that_did_not_learn_is_not_named(study_folder: Path) -> None:
    answer = json.loads((study_folder / "summary.json").read_text())["recommendation"]
    (left_out,) = answer["excluded"]
    assert left_out["arm"] == "lazy"
    assert left_out["why"].startswith("it did not learn")
    now = answer["choose_now"]
    assert answer["arm"] is None
    assert now["arm"] in ("full", "slower")
    assert 0.01 < now["at_worst"] < 0.2
    for name in ("report.md", "report.html"):
        page = (study_folder / name).read_text()
        assert f"if you must choose now, take {now['arm']}" in page
        assert f"at most {100 * now['at_worst']:.1f} points (95%)" in page


def test_the_reports_show_what_the_summary_says(study_folder: Path) -> None:
    summary = json.loads((study_folder / "summary.json").read_text())
    page, text = ((study_folder / name).read_text() for name in ("report.html", "report.md"))
    for shown in (page, text):
        for sentence in [*summary["notes"], *(line["sentence"] for line in summary["headlines"])]:
            assert sentence.replace("+", "&#43;") in shown or sentence in shown
        assert all(sentence in shown for sentence in summary["recommendation"]["reason"].split(". "))
        assert "What this study cannot show" in shown
    for pair in summary["comparisons"]:
        row = f"| {pair['a']} | {pair['b']} | {100 * pair['difference']['mean']:+.1f} |"
        assert (row in text) == (pair["verdict"] != "not learned")


def _costs_of_runs(results: api.StudyResults, arm: str, seeds: Sequence[int]) -> tuple[float, int]:
    """Mean train seconds and highest memory of an arm's runs with these seeds."""
    runs = [run for (run,) in results.runs_by_seed(arm) if run.seed in seeds]
    memory = max(run.peak_memory_bytes.train for run in runs)
    return float(np.mean([run.train_seconds for run in runs])), memory


def test_costs_are_those_of_the_conditions_that_most_arms_have_in_common(study_folder: Path, tmp_path: Path) -> None:
    """The study began on one device, and most of it was done on another, which one run shared with others."""

    def moved(result: dict[str, Any]) -> None:
        if result["arm"] == "full" and result["seed"] < 2:
            result["conditions"].update(device="an older GPU")
            result.update(train_seconds=1000.0 + result["seed"])
        if result["arm"] == "slower" and result["seed"] == 0:
            result["conditions"].update(shared_device=True)
            result.update(train_seconds=500.0)

    results = api.load_results(altered(study_folder, tmp_path / "moved", moved))
    summary = results.summary
    full, slower, lazy = summary.scored_arms
    assert [arm.runs for arm in (full, slower, lazy)] == [3, 3, 3]
    assert [arm.measured_runs for arm in (full, slower, lazy)] == [1, 2, 3]
    assert full.train_seconds == _costs_of_runs(results, "full", [2])[0]
    (older,) = full.other_costs
    assert (older.device, older.measured_runs, older.train_seconds) == ("an older GPU", 2, 1000.5)
    assert older.train_seconds_by_run == (1000.0, 1001.0)
    assert slower.train_seconds == _costs_of_runs(results, "slower", [1, 2])[0]
    assert slower.peak_train_memory_bytes == _costs_of_runs(results, "slower", [0, 1, 2])[1], "memory is not shared"
    (shared,) = slower.other_costs
    assert (shared.times_shared, shared.train_seconds) == (True, 500.0)
    assert lazy.other_costs == ()
    assert {"train_seconds", "peak_train_memory_bytes"} <= set(summary.pareto), "they have conditions in common"
    (note,) = (note for note in summary.notes if "same conditions" in note)
    assert f"(device: {full.device} and an older GPU; shared device: no and yes)" in note
    assert "full (1 of 3 runs) and slower (2 of 3 runs)" in note


def test_arms_without_conditions_in_common_are_not_compared_in_cost(
    study_folder: Path, tuneoff: Command, tmp_path: Path
) -> None:
    def moved(result: dict[str, Any]) -> None:
        if result["arm"] == "slower":
            result["conditions"]["versions"]["torch"] = "1.0"

    apart = altered(study_folder, tmp_path / "apart", moved)
    summary = api.load_results(apart).summary
    assert set(summary.pareto) == {"trainable_parameters", "checkpoint_bytes"}
    assert any(note.startswith("Times and memory are not compared, since arms were") for note in summary.notes)
    for prefer, compared in (("memory", False), ("time", False), ("latency", False), ("checkpoint", True)):
        answer = tuneoff("recommend", apart, "--margin", "0.5", "--prefer", prefer, "--json")
        found = Recommendation.model_validate_json(answer.stdout)
        assert (found.arm is not None) == compared, prefer
        assert ("measured under different conditions (versions.torch: " in found.reason) != compared, prefer
    same = tuneoff("recommend", study_folder, "--margin", "0.5", "--prefer", "time", "--json")
    assert Recommendation.model_validate_json(same.stdout).arm is not None


def test_recommend_from_stored_results_alone(study_folder: Path, tuneoff: Command) -> None:
    stored = json.loads((study_folder / "summary.json").read_text())["recommendation"]
    assert json.loads(tuneoff("recommend", study_folder, "--json").stdout) == stored
    before = {path: path.stat().st_mtime_ns for path in study_folder.rglob("*") if path.is_file()}
    options = ("--prefer", "time", "--max-memory", "4GB", "--max-train-time", "10m", "--min-accuracy", "0.4")
    answer = json.loads(tuneoff("recommend", study_folder, *options, "--margin", "0.4", "--json").stdout)
    assert (answer["prefer"], answer["margin"]) == ("time", 0.4)
    assert answer["limits"] == {"max_memory": 4 * 10**9, "max_train_time": 600.0, "min_accuracy": 0.4}
    shown = tuneoff("recommend", study_folder, "--max-memory", "1MB")
    assert shown.returncode == 0, shown.stderr
    assert "No arm is within the limits." in shown.stdout
    assert "full is left out, since training takes" in shown.stdout
    assert {path: path.stat().st_mtime_ns for path in study_folder.rglob("*") if path.is_file()} == before


@pytest.mark.long
def test_plan_says_before_training_that_the_margin_is_out_of_reach(study_folder: Path, tuneoff: Command) -> None:
    study = study_folder / "study.toml"
    planned = json.loads(tuneoff("plan", study, "--json").stdout)["margin"]
    assert (planned["margin"], planned["least_test_examples"], planned["in_reach"]) == (0.01, 381, False)
    (line,) = (line for line in tuneoff("plan", study).stdout.splitlines() if line.startswith("before you train: "))
    assert "60 test examples cannot show that one of 3 arms loses less than 1 point" in line
    assert "at least 381, or analysis.margin = 0.061 or more" in line
    wider = tuneoff("plan", study, "--set", "analysis.margin=0.061").stdout
    assert "before you train" not in wider


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--prefer", "beauty"),
        ("--max-memory", "4"),
        ("--max-train-time", "soon"),
        ("--min-accuracy", "2"),
        ("--margin", "0"),
        ("--margin", "much"),
    ],
)
def test_an_option_that_is_wrong_is_named_in_one_line(
    option: str, value: str, study_folder: Path, tuneoff: Command
) -> None:
    answer = tuneoff("recommend", study_folder, option, value)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"tuneoff: {option} {value}: ")
    assert answer.stderr.count("\n") == 1


def test_analysis_settings_do_not_name_a_run(study_folder: Path, tuneoff: Command, tmp_path: Path) -> None:
    settings = ("analysis.margin=0.3", 'analysis.prefer="checkpoint"', 'analysis.max_memory="8GB"')
    sets = [word for setting in settings for word in ("--set", setting)]
    shutil.copytree(study_folder, tmp_path / "copy")
    answer = tuneoff("run", "--no-report", tmp_path / "copy" / "study.toml", "--out", tmp_path / "copy", *sets)
    assert answer.returncode == 0, answer.stderr
    assert "nothing to train" in answer.stdout
    recommendation = json.loads((tmp_path / "copy" / "summary.json").read_text())["recommendation"]
    assert (recommendation["margin"], recommendation["prefer"]) == (0.3, "checkpoint")
    assert recommendation["limits"]["max_memory"] == 8 * 10**9
    wrong = tuneoff("run", tmp_path / "copy" / "study.toml", "--set", "analysis.margn=0.3")
    assert wrong.returncode == 2
    assert "did you mean 'margin'?" in wrong.stderr
