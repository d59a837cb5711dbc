"""Frozen features: a baseline that is a run of its own, checked against transformers and scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

import tuneoff as api
from conftest import Command, study_toml
from stored import dictionary
from tuneoff.records.run import RunResult, ScoredRun
from tuneoff.records.saved_model import TextRules
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.tasks.objectives.accuracy import Accuracy
from tuneoff.tasks.single_label import SingleLabel


def _arm(**options: Any) -> ArmSpec:
    return METHODS.classes()["frozen_features"].model_validate({"method": "frozen_features", **options})


def _logits(folder: Path, run: RunResult) -> NDArray[np.float64]:
    predictions = pd.read_parquet(folder / "runs" / run.run_id / "predictions.parquet")
    return np.stack(predictions["logits"].tolist())


def _features(model_folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """One text at a time, so that there is no padding to go wrong."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(model_folder), AutoModel.from_pretrained(model_folder).eval()
    rows = []
    with torch.no_grad():
        for text in texts:
            inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            rows.append(model(**inputs).last_hidden_state[0].mean(dim=0).numpy())
    return np.stack(rows)


@pytest.fixture(scope="module")
def results(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> api.StudyResults:
    """A study of the baseline and of an arm that trains, two seeds, in float32."""
    folder = tmp_path_factory.mktemp("frozen")
    arms = ["frozen_features", "head_only"]
    (folder / "study.toml").write_text(study_toml(tiny_model, data_files, arms, precision='"fp32"'))
    found = api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)
    assert found.failed == []
    return found


def test_it_is_a_logistic_regression_on_mean_hidden_states(results: api.StudyResults, tiny_model: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = (pd.read_parquet(results.folder / "data" / f"{name}.parquet") for name in ("train", "test"))
    reference = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    reference.fit(_features(tiny_model, train["text"].tolist()), train["label"])
    expected = reference.predict_log_proba(_features(tiny_model, test["text"].tolist()))
    run = results.runs_by_seed("frozen_features")[0][0]
    found = torch.from_numpy(_logits(results.folder, run)).log_softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert run.test_accuracy == pytest.approx(
        reference.score(_features(tiny_model, test["text"].tolist()), test["label"])
    )


def test_its_result_has_every_field_of_a_trained_one(results: api.StudyResults) -> None:
    frozen, trained = (results.runs_by_seed(arm)[0][0].model_dump() for arm in ("frozen_features", "head_only"))
    assert frozen.keys() == trained.keys()
    assert frozen["curve"][0].keys() == trained["curve"][0].keys()
    assert frozen["parameters"]["trainable"] == frozen["parameters"]["head"] == 2 * (64 + 1)
    assert frozen["parameters"]["adapter"] == 0
    assert frozen["parameters"]["backbone"] == trained["parameters"]["backbone"]
    assert frozen["parameters"]["total"] == frozen["parameters"]["backbone"] + frozen["parameters"]["head"]
    assert frozen["steps"] == 0
    assert frozen["learning_rate"] == 0
    for field in ("train_seconds", "inference_latency_seconds", "train_examples_per_second", "checkpoint_bytes"):
        assert frozen[field] > 0
    assert min(frozen["peak_memory_bytes"].values()) > 0
    assert [arm["runs"] for arm in dictionary(results.summary)["arms"]] == [2, 2]


def test_every_seed_gives_the_same(results: api.StudyResults) -> None:
    first, second = (_logits(results.folder, run) for (run,) in results.runs_by_seed("frozen_features"))
    np.testing.assert_array_equal(first, second)


def test_what_is_saved_is_the_head(results: api.StudyResults, tiny_model: Path) -> None:
    run = results.runs_by_seed("frozen_features")[0][0]
    head = load_file(results.folder / "runs" / run.run_id / "model" / "head.safetensors")
    test = pd.read_parquet(results.folder / "data" / "test.parquet")
    features = torch.from_numpy(_features(tiny_model, test["text"].tolist()))
    logits = features @ head["weight"].T + head["bias"]
    np.testing.assert_allclose(logits.numpy(), _logits(results.folder, run), atol=1e-3)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_several_devices_find_the_same(
    parallel: str, results: api.StudyResults, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    settings = {"precision": '"fp32"', "parallel": f'"{parallel}"'}
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["frozen_features"], seeds=1, **settings))
    found = api.run_study(
        api.load_study(tmp_path / "study.toml", ["execution.devices_per_run=2"]), tmp_path / "out", report=False
    )
    assert found.failed == []
    (run,) = found.runs
    assert isinstance(run, ScoredRun)
    engine = run.conditions.engine
    assert engine is not None
    assert (run.conditions.devices, engine["parallel"]) == (2, parallel)
    np.testing.assert_allclose(
        _logits(tmp_path / "out", run),
        _logits(results.folder, results.runs_by_seed("frozen_features")[0][0]),
        atol=1e-3,
    )
    assert (tmp_path / "out" / "runs" / run.run_id / "model" / "head.safetensors").exists()


def test_a_learning_rate_is_refused(tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    arm = 'method = "frozen_features"\nlearning_rate = 0.1'
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, [arm]))
    answer = tuneoff("plan", "study.toml")
    assert answer.returncode == 2
    assert "learning_rate" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_it_is_listed_and_planned(tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    methods = json.loads(tuneoff("methods", "--json").stdout)
    assert "baseline" in methods["frozen_features"]["summary"]
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["frozen_features"]))
    plan = json.loads(tuneoff("plan", "study.toml", "--json").stdout)
    assert plan["arms"][0]["parameters"]["trainable"] == 130


@pytest.mark.parametrize("seen", [[1], [0, 2], [2, 1], [0, 1, 3], [0, 1, 2, 3]], ids=str)
def test_classes_without_examples_are_never_predicted(seen: list[int]) -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat(seen, 50)
    features = (draw.normal(size=(len(labels), 8)) + 3 * labels[:, None] * np.eye(8)[labels]).astype(np.float32)
    features[:, 7] = 5.0  # says nothing, and does not vary
    weights, biases = _arm().fit(features, labels, classes=4)
    assert (weights.shape, biases.shape) == ((4, 8), (4,))
    logits = features @ weights.T + biases
    assert np.isfinite(logits).all()
    assert set(logits.argmax(axis=1)) <= set(seen)
    assert (logits.argmax(axis=1) == labels).mean() > 0.9


def test_it_stops_when_it_is_asked_to(tiny_model: Path) -> None:
    from engine_parts import CPU, TOKENS
    from tuneoff.data.tokens import Tokens
    from tuneoff.measure.clock import Stopwatch
    from tuneoff.measure.memory import PeakSoFar, peak_memory
    from tuneoff.models.load import load_classifier, load_config
    from tuneoff.models.mean_pooled import MeanPooledClassifier
    from tuneoff.spec import TrainingSpec
    from tuneoff.training.fit import FeatureEngine, FeatureFit
    from tuneoff.training.loop import TrainingStopped
    from tuneoff.training.parallel.devices import SingleDevice

    loaded = load_classifier(tiny_model, load_config(tiny_model, 3), 0, CPU)
    model = _arm().adapt(loaded)
    assert isinstance(model, MeanPooledClassifier)
    engine = FeatureEngine(model, loaded, TrainingSpec(), CPU, SingleDevice())
    tokens = Tokens(TOKENS.ids % 20, TOKENS.offsets, TOKENS.labels)
    peak = PeakSoFar(peak_memory(CPU))
    splits = {"train": tokens, "validation": tokens}
    task = SingleLabel(TextRules(label_names=("a", "b", "c"), max_length=8))
    fit = FeatureFit(
        _arm(), engine, splits, Stopwatch(CPU), peak, steps=7, training=TrainingSpec(), task=task, objective=Accuracy
    )
    told: list[int] = []
    with pytest.raises(TrainingStopped):
        fit.run(told.append, lambda: True)
    assert told == [7]
