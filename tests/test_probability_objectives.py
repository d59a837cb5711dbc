"""Objectives that judge probabilities: against scikit-learn, and whole studies that go by them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics

import tuneoff
from conftest import Command, study_toml
from tasks_data import write_labels, write_study
from tuneoff.records.run import ScoredRun
from tuneoff.spec.objectives import OBJECTIVES

Floats = NDArray[np.float64]


def as_sets(labels: NDArray[Any], chances: Floats) -> NDArray[np.int64]:
    """Classes as sets of one label each, and sets as they are."""
    return np.eye(chances.shape[1], dtype=np.int64)[labels] if labels.ndim == 1 else labels


def ranked(metric: Callable[..., float]) -> Callable[[NDArray[Any], Floats], float]:
    """The mean of a metric of rankings over the classes that some have and others do not."""

    def mean(labels: NDArray[Any], chances: Floats) -> float:
        sets = as_sets(labels, chances)
        kept = [index for index in range(sets.shape[1]) if 0 < sets[:, index].sum() < len(sets)]
        return float(np.mean([metric(sets[:, index], chances[:, index]) for index in kept]))

    return mean


def explained(labels: NDArray[Any], chances: Floats) -> float:
    """The share of guessing's log loss that is explained."""
    if labels.ndim == 1:
        return float(metrics.d2_log_loss_score(labels, chances, labels=range(chances.shape[1])))
    of_each = [
        [metrics.log_loss(so, said, labels=[0, 1]) for said in (one, np.full(len(so), so.mean()))]
        for so, one in zip(labels.T, chances.T, strict=True)
    ]
    lost, guessed = np.sum(of_each, axis=0)
    return float(1 - lost / guessed)


OF_PROBABILITIES: dict[str, Callable[[NDArray[Any], Floats], float]] = {
    "auroc": ranked(metrics.roc_auc_score),
    "average_precision": ranked(metrics.average_precision_score),
    "d2_log_loss": explained,
}


def drawn(kind: str, outputs: int, examples: int, seed: int, ties: bool) -> tuple[NDArray[Any], Floats]:
    """Labels of uneven classes, and probabilities that know something of them."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(-0.5, 1.5, (examples, outputs)) - np.arange(outputs)
    if kind == "labels":
        chances = 1 / (1 + np.exp(-logits))
        truth = (draw.random(chances.shape) < chances).astype(np.int64)
    else:
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        truth = (chances.cumsum(axis=1) < draw.random((examples, 1))).sum(axis=1)
    noisy = np.clip(chances * draw.uniform(0.5, 1.0, chances.shape), 0.001, 0.999)
    if kind == "class":
        noisy /= noisy.sum(axis=1, keepdims=True)
    return truth, noisy.round(1).clip(0.01, 0.99) if ties else noisy


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", OF_PROBABILITIES)
@pytest.mark.parametrize(("kind", "outputs", "examples"), [("class", 2, 60), ("class", 4, 90), ("labels", 3, 60)])
def test_objectives_of_probabilities_are_those_of_scikit_learn(
    name: str, kind: str, outputs: int, examples: int, ties: bool
) -> None:
    objective, metric = OBJECTIVES.named(name), OF_PROBABILITIES[name]
    for seed in range(2):
        truth, chances = drawn(kind, outputs, examples, seed, ties)
        if ties and kind == "class":
            chances /= chances.sum(axis=1, keepdims=True)
        whole = metric(truth, chances)
        found = objective.contributions(truth, chances)
        assert objective.value(truth, chances) == pytest.approx(whole, abs=1e-9)
        assert found.values.mean() == pytest.approx(whole, abs=1e-9)
        sets = as_sets(truth, chances)
        few = [index for index in range(sets.shape[1]) if sets[:, index].sum() < 2]
        if few:  # without its only example there is no such class; what the product makes of that is its own
            continue
        rest = [np.delete(np.arange(examples), out) for out in range(examples)]
        without = np.array([metric(truth[kept], chances[kept]) for kept in rest])
        expected = -(examples - 1) * (without - without.mean())
        adds = found.values - found.values.mean()
        np.testing.assert_allclose(adds, expected, atol=1e-7)
        assert 0 < found.unit <= found.largest


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_constant_probabilities_are_worth_nothing(name: str) -> None:
    truth = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    shares = np.tile(np.bincount(truth) / len(truth), (len(truth), 1))
    expected = {"auroc": 0.5, "average_precision": 1 / 3, "d2_log_loss": 0.0}[name]
    found = OBJECTIVES.named(name).contributions(truth, shares)
    assert found.values.mean() == pytest.approx(expected)
    assert np.isfinite(found.values).all()
    one_class = OBJECTIVES.named(name).contributions(np.zeros(4, dtype=int), np.full((4, 2), 0.5))
    assert np.isfinite(one_class.values).all()


ARMS = ['method = "full"\nlearning_rate = 3e-3', 'method = "frozen_features"']


def test_folds_of_two_classes_by_auroc(tiny_model: Path, data_files: Path, tuneoff: Command, tmp_path: Path) -> None:
    toml = study_toml(tiny_model, data_files, ARMS, seeds=1, select='"best"')
    toml = toml.replace(f'test = "{data_files / "test.csv"}"\n', "folds = 2\n")
    (tmp_path / "study.toml").write_text('objective = "auroc"\n' + toml)
    answer = tuneoff("run", "study.toml", "--out", "out")
    assert answer.returncode == 0, answer.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    for arm in summary["arms"]:
        truth, chances = [], []
        for run in sorted((tmp_path / "out" / "runs").glob(f"{arm['arm']}-seed0-*")):
            result, frame = json.loads((run / "result.json").read_text()), pd.read_parquet(run / "predictions.parquet")
            logits = np.stack(list(frame["logits"])).astype(np.float64)
            # Of the same difference is the same probability, also where logits of bfloat16 have many of these.
            second = 1 / (1 + np.exp((logits[:, 0] - logits[:, 1]) / result["temperature"]))
            of_fold = np.stack([1 - second, second], axis=1)
            expected = OF_PROBABILITIES["auroc"](frame["label"].to_numpy(), of_fold)
            assert result["test_score"] == pytest.approx(expected, abs=1e-6)
            truth.append(frame["label"].to_numpy())
            chances.append(of_fold)
        score = OF_PROBABILITIES["auroc"](np.concatenate(truth), np.concatenate(chances))
        assert arm["test_scores"] == pytest.approx([score], abs=1e-6)
        assert arm["test_metrics"]["auroc"] == pytest.approx(score, abs=1e-6)
        assert arm["test_score"]["ci_low"] < arm["test_score"]["mean"] <= arm["test_score"]["ci_high"]
    by_name = {baseline["baseline"]: baseline["test_score"] for baseline in summary["baselines"]}
    assert by_name["majority"] == pytest.approx(0.5, abs=0.05)
    assert by_name["tfidf"] > by_name["majority"] + 0.2
    assert "AUROC" in (tmp_path / "out" / "report.md").read_text()


def test_a_study_of_several_labels_by_log_loss(tiny_model: Path, tmp_path: Path) -> None:
    write_labels(tmp_path / "train.csv", 160, seed=1)
    write_labels(tmp_path / "test.csv", 80, seed=2)
    data = 'task = "multi_label"\nlabel = "topics"\nlabel_separator = "|"'
    study = write_study(tmp_path, tiny_model, data, ARMS[:1], 'objective = "d2_log_loss"\n', epochs=4)
    results = tuneoff.run_study(tuneoff.load_study(study), tmp_path / "out", report=False)
    for run in results.of_arm("full"):
        assert isinstance(run, ScoredRun)
        frame = pd.read_parquet(tmp_path / "out" / "runs" / run.run_id / "predictions.parquet")
        truth, logits = np.stack(list(frame["label"])), np.stack(list(frame["logits"])).astype(np.float64)
        assert run.temperature is not None
        chances = 1 / (1 + np.exp(-logits / run.temperature))
        assert run.score == pytest.approx(explained(truth, chances), abs=1e-6)
        np.testing.assert_array_equal(np.stack(list(frame["prediction"])), logits > 0)
    (arm,) = results.summary.scored_arms
    ranks = [
        metrics.average_precision_score(np.stack(list(one["label"])), np.stack(list(one["logits"])), average="macro")
        for one in results.predictions("full")
    ]
    assert arm.test_metrics["average_precision"] == pytest.approx(np.mean(ranks))
    by_name = {name: baseline.probabilities for name, baseline in results.prepared.baselines.items()}
    assert explained(truth, np.array(by_name["majority"])) == pytest.approx(0, abs=0.05)
    assert explained(truth, np.array(by_name["tfidf"])) > 0.3


@pytest.mark.parametrize(
    ("name", "instead"), [("log_loss", "d2_log_loss"), ("roc_auc", "auroc"), ("rmse", "r2"), ("f1", "macro_f1")]
)
def test_names_of_elsewhere_are_answered_with_ours(
    name: str, instead: str, tiny_model: Path, data_files: Path, tuneoff: Command, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(f'objective = "{name}"\n' + study_toml(tiny_model, data_files, ARMS))
    answer = tuneoff("plan", "study.toml")
    assert answer.returncode == 2
    assert f"write '{instead}'" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
