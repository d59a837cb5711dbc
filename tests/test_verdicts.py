"""What whole studies conclude where there is nothing to conclude: twins, failures, one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import Command, study_toml
from stored import dictionary
from tuneoff import StudyResults, load_study, run_study

TOO_HIGH = "learning_rate = 1e38"


def _study(
    folder: Path, model: Path, data: Path, arms: list[str], overrides: tuple[str, ...] = (), **settings: Any
) -> StudyResults:
    (folder / "study.toml").write_text(study_toml(model, data, arms, **settings))
    return run_study(load_study(folder / "study.toml", overrides), folder / "out")


@pytest.mark.long
def test_the_same_method_under_two_names_ends_in_a_tie(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    arms = [f'name = "{name}"\nmethod = "full"\nlearning_rate = 3e-3' for name in ("first", "second")]
    results = _study(tmp_path, tiny_model, data_files, arms, ("analysis.margin=0.1",), seeds=3, epochs=3)
    (twins,) = dictionary(results.summary)["comparisons"]
    assert twins["verdict"] == "tie"
    assert twins["difference"]["mean"] == 0
    assert twins["difference"]["ci_low"] < 0 < twins["difference"]["ci_high"]
    assert twins["p_adjusted"] > 0.99
    for front in dictionary(results.summary)["pareto"].values():
        assert sorted(front) == ["first", "second"]
    page = (tmp_path / "out" / "report.md").read_text()
    assert "first and second are tied: they differ by less than 10 points" in page


def test_the_only_arm_that_did_not_fail_is_not_crowned(
    tiny_model: Path, data_files: Path, tmp_path: Path, tuneoff: Command
) -> None:
    arms = ["full", f'method = "lora"\n{TOO_HIGH}', f'method = "ia3"\n{TOO_HIGH}']
    results = _study(tmp_path, tiny_model, data_files, arms)
    assert sorted({failure.arm for failure in results.failed}) == ["ia3", "lora"]
    answer = dictionary(results.summary)["recommendation"]
    assert answer["arm"] is None
    assert answer["choose_now"] is None
    assert "Only full has results: it did not learn" in answer["reason"]
    page = (tmp_path / "out" / "report.md").read_text()
    assert "Use full" not in page
    assert "lora (2 failed)" in page
    assert page.partition("| arm |")[0].count("it did not learn") == 1
    assert "full did not learn" not in page.partition("| arm |")[0]
    again = tuneoff("recommend", tmp_path / "out")
    assert "Only full has results" in again.stdout
    assert "Use full" not in again.stdout


def test_one_seed_gives_no_ranking(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    arms = ["full", "head_only", 'method = "lora"']
    results = _study(tmp_path, tiny_model, data_files, arms, seeds=1)
    summary = dictionary(results.summary)
    assert [pair["verdict"] for pair in summary["comparisons"]] == ["not learned"] * 3
    assert summary["recommendation"]["arm"] is None
    assert summary["recommendation"]["choose_now"] is None
    assert "No arm learned this task" in summary["recommendation"]["reason"]
    assert summary["pareto"] == {}, "no arm that did not learn is on a front"
    page = (tmp_path / "out" / "report.md").read_text()
    (said,) = (line for line in page.splitlines() if "compared" in line)
    assert said == "- full, head_only, lora did not learn this task, so they are not compared with any arms"
    assert "† did not learn: full, head_only, lora." in page
    assert "Classes and calibration" in page
