"""Several labels an example, and numbers to predict: whole studies against scikit-learn, and what is saved of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics

import tuneoff
from another_package import guide, install_package, point_of
from conftest import Command
from serve_parts import serving
from tasks_data import TOPICS, write_labels, write_numbers, write_study
from tuneoff.core.errors import UserError

ARMS = ['method = "full"\nlearning_rate = 3e-3', 'method = "lora"\nlearning_rate = 1e-2']
SEVERAL = 'task = "multi_label"\nlabel = "topics"\nlabel_separator = "|"'
NUMBERS = 'task = "regression"\nlabel = "stars"'


@pytest.fixture(scope="module")
def several(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of several labels an example."""
    folder = tmp_path_factory.mktemp("several")
    write_labels(folder / "train.csv", 160, seed=1)
    write_labels(folder / "test.csv", 80, seed=2)
    study = write_study(folder, tiny_model, SEVERAL, ARMS, select='"best"', epochs=6, precision='"fp32"')
    tuneoff.run_study(tuneoff.load_study(study), folder / "out")
    return folder


@pytest.fixture(scope="module")
def numbers(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of numbers."""
    folder = tmp_path_factory.mktemp("numbers")
    write_numbers(folder / "train.csv", 160, seed=1)
    write_numbers(folder / "test.csv", 80, seed=2)
    study = write_study(folder, tiny_model, NUMBERS, ARMS, epochs=6, precision='"fp32"')
    tuneoff.run_study(tuneoff.load_study(study), folder / "out")
    return folder


def stored(folder: Path, arm: str, seed: int) -> pd.DataFrame:
    """The test predictions of a run."""
    return pd.read_parquet(next((folder / "out" / "runs").glob(f"{arm}-seed{seed}-*")) / "predictions.parquet")


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "out" / "summary.json").read_text())
    return summary


def given_topics(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Which labels a file gives each text, in the order of the alphabet."""
    said = [set(str(topics).split("|")) for topics in frame["topics"].fillna("")]
    return np.array([[label in own for label in sorted(TOPICS)] for own in said], dtype=np.int64)


def test_several_labels_by_micro_f1(several: Path) -> None:
    summary = summary_of(several)
    assert (summary["objective"], summary["data"]["task"]) == ("micro_f1", "multi_label")
    assert summary["data"]["label_names"] == sorted(TOPICS)
    truth = given_topics(pd.read_csv(several / "test.csv"))
    for arm in summary["arms"]:
        frames = [stored(several, arm["arm"], seed) for seed in (0, 1)]
        answers = [np.stack(list(frame["prediction"])) for frame in frames]
        for frame, said in zip(frames, answers, strict=True):
            np.testing.assert_array_equal(np.stack(list(frame["label"])), truth)
            assert said.shape == truth.shape
        scores = [metrics.f1_score(truth, said, average="micro") for said in answers]
        assert arm["test_scores"] == pytest.approx(scores)
        assert min(scores) > 0.6, "it learns"
        assert arm["test_accuracy"]["mean"] == pytest.approx(
            np.mean([metrics.accuracy_score(truth, said) for said in answers])
        )
        macro = np.mean([metrics.f1_score(truth, said, average="macro") for said in answers])
        assert arm["test_metrics"]["macro_f1"] == pytest.approx(macro)
        wrong = np.mean([metrics.hamming_loss(truth, said) for said in answers])
        assert arm["test_metrics"]["hamming_loss"] == pytest.approx(wrong)
        for index, label in enumerate(sorted(TOPICS)):
            recalls = [metrics.recall_score(truth[:, index], said[:, index]) for said in answers]
            assert arm["by_class"]["classes"][label]["recall"] == pytest.approx(np.mean(recalls))
    by_name = {baseline["baseline"]: baseline for baseline in summary["baselines"]}
    train = given_topics(pd.read_csv(several / "train.csv"))
    most = np.tile(train.mean(axis=0) > 0.5, (len(truth), 1))
    assert by_name["majority"]["test_score"] == pytest.approx(
        metrics.f1_score(truth, most, average="micro", zero_division=0.0)
    )
    assert by_name["tfidf"]["test_score"] > 0.8


def test_numbers_by_the_variance_that_is_explained(numbers: Path) -> None:
    summary = summary_of(numbers)
    assert (summary["objective"], summary["metric"]) == ("r2", "R²")
    truth = pd.read_csv(numbers / "test.csv")["stars"].to_numpy()
    train = pd.read_csv(numbers / "train.csv")["stars"].to_numpy()
    for arm in summary["arms"]:
        frames = [stored(numbers, arm["arm"], seed) for seed in (0, 1)]
        said = [frame["prediction"].to_numpy() for frame in frames]
        for frame in frames:
            np.testing.assert_allclose(frame["label"], truth)
        scores = [metrics.r2_score(truth, answers) for answers in said]
        assert arm["test_scores"] == pytest.approx(scores)
        assert min(scores) > 0.4, "it learns"
        errors = [metrics.mean_absolute_error(truth, answers) for answers in said]
        assert arm["test_metrics"]["mae"] == pytest.approx(np.mean(errors))
        ranks = [pd.Series(answers).corr(pd.Series(truth), method="spearman") for answers in said]
        assert arm["test_metrics"]["spearman"] == pytest.approx(np.mean(ranks))
        assert arm["test_accuracy"] is None
        assert arm["by_class"] is None
        interval = arm["test_score"]
        assert interval["mean"] == pytest.approx(np.mean(scores))
        assert interval["ci_low"] < interval["mean"] < interval["ci_high"] <= 1
        groups = arm["reliability"]
        assert sum(group["examples"] for group in groups) == 2 * len(truth)
        assert [group["predicted"] for group in groups] == sorted(group["predicted"] for group in groups)
    by_name = {baseline["baseline"]: baseline for baseline in summary["baselines"]}
    assert by_name["majority"]["test_score"] < 0.01
    assert abs(by_name["majority"]["test_score"]) < 0.2, f"the mean, {train.mean():.1f}, of others"
    assert by_name["tfidf"]["test_score"] > 0.4


@pytest.mark.parametrize("kind", ["several", "numbers"])
def test_reports_say_what_is_there(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    results = tuneoff.load_results(folder / "out")
    metric, other = {"several": ("micro F1", "labels wrong"), "numbers": ("R²", "mean absolute error")}[kind]
    for name in ("report.md", "report.html"):
        text = (folder / "out" / name).read_text()
        assert f"test {metric}" in text
        assert other in text
    assert not {"None", "nan"} & set((folder / "out" / "report.md").read_text().split())
    assert results.plot.chart("reliability").to_dict()["layer"]
    with pytest.raises(UserError, match="no chart 'confusion_matrix'"):
        results.plot.chart("confusion_matrix")


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_saved_models_of_labels_give_the_stored_logits(several: Path, tiny_model: Path, arm: str) -> None:
    results = tuneoff.load_results(several / "out")
    folder = results.model_folder(arm)
    config = json.loads((folder / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert list(config["id2label"].values()) == sorted(TOPICS)
    run = results.best_run(arm)
    assert run is not None
    frame = stored(several, arm, run.seed)
    texts = pd.read_csv(several / "test.csv")["text"].tolist()
    np.testing.assert_allclose(plain_logits(folder, tiny_model, texts), np.stack(list(frame["logits"])), atol=1e-5)
    model = tuneoff.load(folder, precision="fp32")
    for answer, said in zip(model.predict(texts), frame["prediction"], strict=True):
        assert answer.label == tuple(np.array(sorted(TOPICS))[said.astype(bool)])
        above = zip(answer.probabilities.items(), run.thresholds, strict=True)
        assert answer.label == tuple(name for (name, chance), threshold in above if chance > threshold)


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_saved_models_of_numbers_give_the_stored_numbers(numbers: Path, tiny_model: Path, arm: str) -> None:
    results = tuneoff.load_results(numbers / "out")
    folder = results.model_folder(arm)
    run = results.best_run(arm)
    assert run is not None
    frame = stored(numbers, arm, run.seed)
    texts = pd.read_csv(numbers / "test.csv")["text"].tolist()
    logits = plain_logits(folder, tiny_model, texts)
    np.testing.assert_allclose(logits, np.stack(list(frame["logits"])), atol=1e-5)
    scale = json.loads((folder / "tuneoff.json").read_text())["texts"]["scale"]
    np.testing.assert_allclose(scale["mean"] + scale["deviation"] * logits[:, 0], frame["prediction"], atol=1e-3)
    assert f"{scale['mean']:.9g} + {scale['deviation']:.9g} * logit" in (folder / "README.md").read_text()
    answers = tuneoff.load(folder, precision="fp32").predict(texts)
    np.testing.assert_allclose([answer.label for answer in answers], frame["prediction"], atol=1e-3)  # type: ignore[arg-type]
    assert answers[0].probabilities == {}
    assert answers[0].probability is None


def test_temperatures_make_probabilities_likelier(several: Path) -> None:
    results = tuneoff.load_results(several / "out")
    truth = given_topics(pd.read_csv(several / "test.csv"))
    for arm in ("full", "lora"):
        run = results.best_run(arm)
        assert run is not None
        assert run.temperature is not None
        logits = np.stack(list(stored(several, arm, run.seed)["logits"])).astype(np.float64)
        chances = 1 / (1 + np.exp(-logits / run.temperature))
        texts = pd.read_csv(several / "test.csv")["text"].tolist()
        said = tuneoff.load(results.model_folder(arm), precision="fp32").predict(texts)
        np.testing.assert_allclose([list(one.probabilities.values()) for one in said], chances, atol=1e-4)
        (of_arm,) = [scored for scored in results.summary.scored_arms if scored.arm == arm]
        assert of_arm.calibrated_error is not None
        bins = of_arm.reliability
        assert sum(one.examples for one in bins) == 2 * truth.size
        assert all(0 <= one.predicted <= 1 for one in bins)


def plain_logits(folder: Path, base: Path, texts: list[str]) -> NDArray[np.float32]:
    """Logits by transformers and peft alone."""
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    model: Any
    if (folder / "adapter_config.json").exists():
        config = AutoConfig.from_pretrained(folder)
        backbone = AutoModelForSequenceClassification.from_pretrained(base, config=config, ignore_mismatched_sizes=True)
        model = PeftModel.from_pretrained(backbone, folder)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    with torch.no_grad():
        logits: NDArray[np.float32] = model.eval()(**inputs).logits.numpy()
    return logits


@pytest.mark.long
def test_predicting_and_exporting_labels(several: Path, tuneoff: Command, tmp_path: Path) -> None:
    model = next((several / "out" / "runs").glob("full-seed0-*")) / "model"
    answer = tuneoff("predict", model, "--file", several / "test.csv", "--out", "labels.csv", "--probabilities")
    assert answer.returncode == 0, answer.stderr
    frame = pd.read_csv(tmp_path / "labels.csv", keep_default_na=False)
    assert list(frame.columns[2:]) == ["label", *(f"probability_{label}" for label in sorted(TOPICS))]
    chances = frame[[f"probability_{label}" for label in sorted(TOPICS)]].to_numpy()
    thresholds = json.loads((model / "tuneoff.json").read_text())["texts"]["thresholds"]
    for said, row in zip(frame["label"], chances, strict=True):
        above = zip(sorted(TOPICS), row, thresholds, strict=True)
        assert said == "; ".join(label for label, chance, threshold in above if chance > threshold)
    answer = tuneoff("export", several / "out", "--arm", "lora", "--to", "merged", "--format", "merged")
    assert answer.returncode == 0, answer.stderr
    assert "no label changed" in answer.stdout
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "It says which of 4 labels texts have." in card
    thresholds = json.loads((tmp_path / "merged" / "tuneoff.json").read_text())["texts"]["thresholds"]
    assert f"plot {thresholds[2]:.3g}" in card
    assert "name: Micro F1" in card


@pytest.mark.long
def test_predicting_and_exporting_numbers(numbers: Path, tuneoff: Command, tmp_path: Path) -> None:
    model = next((numbers / "out" / "runs").glob("full-seed0-*")) / "model"
    answer = tuneoff("predict", model, "superb good", "awful dull")
    assert answer.returncode == 0, answer.stderr
    high, low = (float(line.rpartition(",")[2]) for line in answer.stdout.splitlines()[1:])
    assert high > 40 > 20 > low
    refit = tuneoff("export", numbers / "out", "--arm", "full", "--to", "again", "--refit", "train+validation")
    assert refit.returncode == 0, refit.stderr
    assert "test R²" in refit.stdout
    card = (tmp_path / "again" / "README.md").read_text()
    assert "It predicts a number, stars, for texts." in card
    assert "type: r_squared" in card
    for command in (
        ("recommend", numbers / "out", "--min-accuracy", "0.5"),
        ("compare", numbers / "out", numbers / "out"),
    ):
        refused = tuneoff(*command)
        assert refused.returncode == 2
        assert "accuracy" in refused.stderr


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('task = "regression"\nlabel = "topics"\ndrop_empty = true', "the label of row 1 is"),
        ('task = "single_label"\nlabel_separator = "|"', "set task = 'multi_label'"),
        ('task = "multi_label"\nlabel = ["topics"]', "label as a list names at least two columns"),
        ('task = "multi_label"\nlabel = ["topics", "text2"]', "there is no column 'text2'"),
        ('task = "multi_label"\nlabel = ["topics", "text"]', "cannot be both text and label"),
        ('task = "multi_label"\nlabel = "topics"\nlabel_separator = "#"', "stands between no labels"),
        ('task = "regresion"', "did you mean 'regression'"),
    ],
)
def test_what_cannot_be_learned_is_said(
    toml: str, said: str, several: Path, tiny_model: Path, tmp_path: Path, tuneoff: Command
) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text((several / name).read_text())
    write_study(tmp_path, tiny_model, toml, ["full"])
    answer = tuneoff("run", "study.toml")
    assert answer.returncode == 2
    assert said in answer.stderr, answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("top", "settings", "arm", "said"),
    [
        ('objective = "mcc"\n', {}, "full", "objective = 'mcc' is not for data.task = 'regression'"),
        ("", {"class_weights": '"balanced"'}, "full", "training.class_weights is for one class an example"),
        ("", {"label_smoothing": 0.1}, "full", "training.label_smoothing is for one class an example"),
        ("", {}, "frozen_features", "fits one class an example"),
    ],
)
def test_settings_of_other_tasks_are_refused(
    top: str, settings: dict[str, Any], arm: str, said: str, tiny_model: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path, tiny_model, NUMBERS, [f'method = "{arm}"'], top=top, **settings)
    with pytest.raises(UserError, match=said):
        tuneoff.load_study(study)


def test_a_task_from_another_package(
    tuneoff: Command, numbers: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, point = point_of("a-task")
    name = point.partition(" ")[0]
    for variable, value in install_package(tmp_path / "site", guide("a-task"), group, point).items():
        monkeypatch.setenv(variable, value)
    for split in ("train.csv", "test.csv"):
        (tmp_path / split).write_text((numbers / split).read_text())
    write_study(tmp_path, tiny_model, f'task = "{name}"\nlabel = "stars"', ARMS[:1], seeds=1, epochs=3)
    answer = tuneoff("run", "study.toml", "--out", "out", "--no-report")
    assert answer.returncode == 0, answer.stderr
    assert "test R²" in answer.stdout
    (run,) = (tmp_path / "out" / "runs").iterdir()
    frame = pd.read_parquet(run / "predictions.parquet")
    assert (frame["prediction"] % 1 == 0).all()
    assert (frame["label"] % 1 != 0).any()
    answer = tuneoff("predict", run / "model", "superb good")
    assert answer.returncode == 0, answer.stderr
    assert float(answer.stdout.splitlines()[1].rpartition(",")[2]) % 1 == 0


def test_a_server_answers_with_labels_and_numbers(several: Path, numbers: Path) -> None:
    topics = tuneoff.load_results(several / "out").model_folder("full")
    stars = tuneoff.load_results(numbers / "out").model_folder("full")
    with serving(f"topics={topics}", f"stars={stars}") as server:
        info = server.ask("/info").json["models"]
        assert {name: model["kind"] for name, model in info.items()} == {"topics": "labels", "stars": "number"}
        found = {one["label"]: one["score"] for one in server.predict("the music was good", model="topics").json}
        (said,) = tuneoff.load(topics).predict(["the music was good"])
        assert found == pytest.approx(said.probabilities, abs=1e-5)
        (number,) = server.predict("superb good", model="stars").json
        (said,) = tuneoff.load(stars).predict(["superb good"])
        assert number == {"label": "stars", "score": pytest.approx(said.label, rel=1e-5)}
        (logit,) = server.predict("superb good", model="stars", raw_scores=True).json
        assert abs(logit["score"]) < 5
