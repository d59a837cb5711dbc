"""Using the winner: what reports say of it works as it stands, and models predict from Python."""

from __future__ import annotations

import ast
import html
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tuneoff as api
from conftest import Command, study_toml
from plainly import run_lines
from tuneoff.core.errors import UserError
from tuneoff.export.trained import Trained
from tuneoff.records.recommendation import Recommendation
from tuneoff.report.use import Use, use
from tuneoff.report.write import write_markdown

FOLDER = "a study's folder"
TEXTS = ["a good film", "a bad film"]


@pytest.fixture(scope="module")
def results(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> api.StudyResults:
    """A finished study of two arms and two seeds, in a folder whose name a shell takes apart."""
    folder = tmp_path_factory.mktemp("use") / FOLDER
    folder.parent.joinpath("study.toml").write_text(
        study_toml(tiny_model, data_files, ["full", "lora"], epochs=1, precision='"fp32"')
    )
    found = api.run_study(api.load_study(folder.parent / "study.toml"), folder)
    assert found.failed == []
    return found


def with_winner(results: api.StudyResults, arm: str | None, now: bool = False) -> Use:
    """What is said of it where the recommendation is another."""
    from tuneoff.records.recommendation import ChooseNow

    kept = results.summary.recommendation
    chosen = ChooseNow(arm=arm, likely=True, at_worst=0.1, wrong_rate=None, sentence="It is.") if arm and now else None
    recommendation = kept.model_copy(update={"arm": None if now else arm, "choose_now": chosen})
    assert isinstance(recommendation, Recommendation)
    again = api.load_results(results.folder)
    again.__dict__["summary"] = results.summary.model_copy(update={"recommendation": recommendation})
    return use(again)


def test_the_best_run_on_validation_is_loaded(results: api.StudyResults, data_files: Path) -> None:
    texts = pd.read_csv(data_files / "test.csv")["text"].tolist()
    for arm in ("full", "lora"):
        runs = [run for (run,) in results.runs_by_seed(arm)]
        best = results.best_run(arm)
        assert best is not None
        assert best.selected.score == max(run.selected.score for run in runs)
        stored = pd.read_parquet(results.folder / "runs" / best.run_id / "predictions.parquet")
        model = results.load(arm, precision="fp32")
        np.testing.assert_allclose(model.logits(texts), np.stack(stored["logits"].tolist()), atol=1e-5)
        labels = [int(str(found.label)) for found in model.predict(texts)]
        assert labels == stored["prediction"].tolist()
    with pytest.raises(UserError, match="no arm is called 'ia3'; there are full, lora"):
        results.load("ia3")


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_the_lines_and_the_commands_are_right(arm: str, results: api.StudyResults) -> None:
    for said in (with_winner(results, arm), with_winner(results, arm, now=True)):
        folder = results.model_folder(arm)
        assert f"is in {folder}" in said.sentence
        predict, serve, export = map(shlex.split, said.commands)
        assert predict == ["tuneoff", "predict", str(folder), "some text"]
        assert serve == ["tuneoff", "serve", str(folder)]
        assert export[:3] == ["tuneoff", "export", str(results.folder)]
        assert export[-2:] == ["--to", "exported"]
        assert Path(said.read_me).is_file()
        ast.parse(said.python)
    assert "--arm" in export  # of the one to choose now, which is not recommended
    plain = run_lines([said.loading], TEXTS)[0]
    np.testing.assert_allclose(plain.padded, results.load(arm, precision="fp32").logits(TEXTS), atol=1e-5)


def test_a_study_is_read_by_the_name_of_its_folder(results: api.StudyResults) -> None:
    assert api.StudyResults.read(str(results.folder)).folder == results.folder


def test_all_files_of_a_model_may_be_read_by_those_who_may_read_the_study(results: api.StudyResults) -> None:
    expected = (results.folder / "plan.json").stat().st_mode
    files = [path for path in results.folder.glob("runs/*/model/*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in files)
    assert {path.name for path in files if path.stat().st_mode != expected} == set()


def test_where_there_is_nothing_to_use_it_says_what_to_do(results: api.StudyResults) -> None:
    said = with_winner(results, None)
    assert said.arm is None
    assert "No arm is recommended" in said.sentence
    command = re.findall("`(.*)`", said.sentence)[0]
    assert shlex.split(command)[:5] == ["tuneoff", "export", str(results.folder), "--arm", "full"]
    again = api.load_results(results.folder)
    again.__dict__["spec"] = again.spec.model_copy(update={"keep_models": False})
    assert "keep_models = true" in use(again).sentence
    assert use(again).arm is None


def test_every_report_says_it(results: api.StudyResults, tuneoff: Command) -> None:
    said = use(results)
    assert said.sentence
    page = html.unescape((results.folder / "report.html").read_text())
    text = write_markdown(results).read_text()
    shown = tuneoff("report", results.folder).stdout
    for line in said.commands or (said.sentence,):
        assert line in page
        assert line in text
        assert line in shown
    for line in said.loading.splitlines():
        assert line in page
        assert line in text
    assert len(shown.split("use it")[1].split("report ")[0].strip().splitlines()) <= 4


def test_the_examples_of_the_documentation_run(results: api.StudyResults, tiny_model: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "using-the-winner.md").read_text(encoding="utf-8")
    whole, adapter, predicting = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    folders = {arm: str(results.model_folder(arm)) for arm in ("full", "lora")}
    given = {
        r"runs/full-[^\"]*": folders["full"],
        r"runs/lora-[^\"]*": folders["lora"],
        "roberta-base": str(tiny_model),
    }
    for pattern, path in given.items():
        whole, adapter = (re.sub(pattern, path, code) for code in (whole, adapter))
    for arm, plain in zip(folders, run_lines([whole, adapter], TEXTS), strict=True):
        np.testing.assert_allclose(plain.padded, results.load(arm, precision="fp32").logits(TEXTS), atol=1e-5)
    exec(predicting.replace("studies-out/quickstart", str(results.folder)), {})


def test_a_model_that_does_not_say_where_its_base_is_is_used_with_the_studys(
    results: api.StudyResults, tmp_path: Path, tiny_model: Path
) -> None:
    """As where the two lie on different drives, so that no path leads from one to the other."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(results.folder, folder)
    for path in folder.glob("runs/lora-*/model/tuneoff.json"):
        stored = json.loads(path.read_text())
        stored["base"]["path"] = None
        path.write_text(json.dumps(stored))
    moved = api.StudyResults.read(folder)
    found = with_winner(moved, "lora")
    predict, serve, _ = found.commands
    assert shlex.split(predict)[:4] == ["tuneoff", "predict", "--base", str(tiny_model)]
    assert shlex.split(serve)[:4] == ["tuneoff", "serve", "--base", str(tiny_model)]
    assert str(tiny_model) in found.loading
    with pytest.raises(UserError, match="does not say where on this machine that is; name it with --base FOLDER"):
        api.load(moved.model_folder("lora"))
    run = moved.best_run("lora")
    assert run is not None
    assert Trained.of_run(moved, run, tmp_path / "to").base_folder == tiny_model
