"""What a study goes by: metrics against scikit-learn's, and whole studies that follow another one than accuracy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn import metrics

from another_package import guide, install_package, point_of
from conftest import NEGATIVE, NEUTRAL, POSITIVE, Command, study_toml
from test_probability_objectives import OF_PROBABILITIES
from tuneoff.analysis.statistics import Field, PairedDifference, Scale, at_worst
from tuneoff.spec.objectives import OBJECTIVES

Classes = NDArray[np.int64]
Numbers = NDArray[np.float64]
SKLEARN: dict[str, Callable[[Classes, Classes], float]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "cohen_kappa": metrics.cohen_kappa_score,
    "macro_f1": lambda labels, predictions: metrics.f1_score(
        labels, predictions, labels=np.unique(labels), average="macro", zero_division=0.0
    ),
    "mcc": metrics.matthews_corrcoef,
    "weighted_f1": lambda labels, predictions: metrics.f1_score(
        labels, predictions, average="weighted", zero_division=0.0
    ),
}


def drawn(classes: int, examples: int, right: float, seed: int) -> tuple[Classes, Classes]:
    """Labels of uneven classes, and predictions of which such a share is right."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(classes, examples, p=draw.dirichlet(np.ones(classes)))
    return labels, np.where(draw.random(examples) < right, labels, draw.integers(0, classes, examples))


OF_SETS: dict[str, Callable[[Classes, Classes], float]] = {
    "accuracy": metrics.accuracy_score,
    "macro_f1": lambda labels, predictions: metrics.f1_score(
        labels[:, labels.any(axis=0)], predictions[:, labels.any(axis=0)], average="macro", zero_division=0.0
    ),
    "micro_f1": lambda labels, predictions: metrics.f1_score(labels, predictions, average="micro", zero_division=0.0),
    "weighted_f1": lambda labels, predictions: metrics.f1_score(
        labels, predictions, average="weighted", zero_division=0.0
    ),
}
OF_NUMBERS: dict[str, Callable[[Numbers, Numbers], float]] = {
    "d2_absolute_error": metrics.d2_absolute_error_score,
    "pearson": lambda labels, predictions: float(np.corrcoef(labels, predictions)[0, 1]),
    "r2": metrics.r2_score,
    "spearman": lambda labels, predictions: float(spearmanr(labels, predictions).statistic),
}


def test_every_objective_has_a_metric_to_be_compared_with() -> None:
    compared = {
        "class": {*SKLEARN, *OF_PROBABILITIES},
        "labels": {*OF_SETS, *OF_PROBABILITIES},
        "number": set(OF_NUMBERS),
    }
    for kind, names in compared.items():
        assert {name for name, objective in OBJECTIVES.classes().items() if kind in objective.kinds} == names


def jackknife(metric: Callable[[Any, Any], float], labels: NDArray[Any], predictions: NDArray[Any]) -> Numbers:
    """What each example adds to a metric, by leaving it out, less the mean of that."""
    rest = [np.delete(np.arange(len(labels)), left_out) for left_out in range(len(labels))]
    without = np.array([metric(labels[kept], predictions[kept]) for kept in rest])
    adds: Numbers = -(len(labels) - 1) * (without - without.mean())
    return adds


@pytest.mark.parametrize("name", OF_SETS)
@pytest.mark.parametrize(("labels", "examples"), [(2, 50), (7, 80)])
def test_objectives_of_several_labels_are_those_of_scikit_learn(name: str, labels: int, examples: int) -> None:
    for seed in range(2):
        draw = np.random.default_rng(seed)
        truth = (draw.random((examples, labels)) < draw.uniform(0.05, 0.6, labels)).astype(np.int64)
        said = np.where(draw.random(truth.shape) < 0.85, truth, 1 - truth)
        found = OBJECTIVES.named(name).contributions(truth, said)
        assert OBJECTIVES.named(name).value(truth, said) == pytest.approx(OF_SETS[name](truth, said))
        assert found.values.mean() == pytest.approx(OF_SETS[name](truth, said))
        expected = jackknife(OF_SETS[name], truth, said)
        np.testing.assert_allclose(found.values - found.values.mean(), expected, atol=1e-8)
        assert 0 < found.unit <= found.largest


@pytest.mark.parametrize("name", OF_NUMBERS)
@pytest.mark.parametrize(("examples", "steps"), [(60, None), (200, None), (200, 5)])
def test_objectives_of_numbers_are_those_of_scikit_learn(name: str, examples: int, steps: int | None) -> None:
    for seed in range(2):
        draw = np.random.default_rng(seed)
        truth = draw.gamma(2, 3, examples) if steps is None else draw.integers(0, steps, examples).astype(float)
        said = truth + draw.normal(0, truth.std(), examples)
        found = OBJECTIVES.named(name).contributions(truth, said)
        whole = OF_NUMBERS[name](truth, said)
        assert OBJECTIVES.named(name).value(truth, said) == pytest.approx(whole)
        assert found.values.mean() == pytest.approx(whole)
        expected = jackknife(OF_NUMBERS[name], truth, said)
        adds = found.values - found.values.mean()
        # Ranks of the others, and their median, are moved to first order: what is left out is one part in the number of
        # examples.
        tolerance = 5 / examples if name in ("spearman", "d2_absolute_error") else 1e-7
        np.testing.assert_allclose(adds, expected, atol=tolerance * np.abs(expected).max())
        assert 1 <= found.unit <= found.largest


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_constant_numbers_have_a_value(name: str) -> None:
    truth, same = np.array([1.0, 2.0, 4.0, 4.5]), np.full(4, 3.0)
    for labels, said in ((truth, same), (same, truth), (same, same)):
        found = OBJECTIVES.named(name).contributions(labels, said)
        assert np.isfinite(found.values).all()
        assert found.values.mean() <= 1e-12


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("name", SKLEARN)
@pytest.mark.parametrize(("classes", "examples", "right"), [(2, 60, 0.8), (6, 120, 0.9), (40, 90, 0.4), (3, 50, 1.0)])
def test_objectives_are_those_of_scikit_learn(name: str, classes: int, examples: int, right: float) -> None:
    objective, expected = OBJECTIVES.named(name), SKLEARN[name]
    for seed in range(2):
        labels, predictions = drawn(classes, examples, right, seed)
        whole = expected(labels, predictions)
        assert objective.value(labels, predictions) == pytest.approx(whole)
        found = objective.contributions(labels, predictions)
        assert found.values.mean() == pytest.approx(whole)
        assert found.values - found.values.mean() == pytest.approx(jackknife(expected, labels, predictions), abs=1e-8)


def test_constant_answers_and_a_single_class_have_a_value() -> None:
    labels = np.array([0, 0, 0, 1])
    for objective in map(OBJECTIVES.named, SKLEARN):
        for answers in (np.zeros(4, dtype=np.int64), np.ones(4, dtype=np.int64)):
            found = objective.contributions(labels, answers)
            assert np.isfinite(found.values).all()
            assert found.unit > 0
        alone = objective.contributions(labels[:3], labels[:3])
        assert np.isfinite(alone.values).all()


@pytest.mark.parametrize("name", ["mcc", "cohen_kappa", "r2", "pearson", "d2_absolute_error"])
def test_arms_may_differ_by_as_much_as_the_objective_allows(name: str) -> None:
    """By more than a whole, where it can be below 0."""
    objective, draw = OBJECTIVES.named(name), np.random.default_rng(3)
    labels: NDArray[Any]
    if "class" in objective.kinds:
        labels = np.arange(120) % 2
        said = [np.where(draw.random(120) < share, labels, 1 - labels) for share in (0.95, 0.94, 0.06, 0.05)]
    else:
        labels = draw.normal(5, 2, 120)
        said = [labels + draw.normal(0, 0.3, 120) for _ in range(2)]
        said += [12 - 1.4 * labels + draw.normal(0, 0.3, 120) for _ in range(2)]
    scored = [objective.contributions(labels, answers) for answers in said]
    scale = Scale(scored[0].unit, objective.span())
    field = Field.measure([np.stack([one.values for one in arm]) for arm in (scored[:2], scored[2:])], scale=scale)
    for turned in (False, True):
        found = PairedDifference.of(field, 0, turned=turned)
        seen = found.difference
        assert abs(seen.mean) > 1.5
        assert seen.ci_low < seen.mean < seen.ci_high
        assert -objective.span() <= seen.ci_low
        assert seen.ci_high <= objective.span()
        assert found.lower_bound() <= seen.mean
    worst = at_worst(field, 1)
    assert worst is not None
    assert worst >= field.difference[0]


@pytest.mark.parametrize("name", sorted(OBJECTIVES.classes()))
def test_how_much_an_example_counts_is_expected_of_labels_alone(name: str) -> None:
    objective, draw = OBJECTIVES.named(name), np.random.default_rng(4)
    for kind in objective.kinds:
        if kind == "class":
            labels: NDArray[Any] = draw.choice(3, 900, p=[0.5, 0.4, 0.1])
            right = draw.random(900) < 0.9
            said = np.where(right, labels, draw.integers(0, 3, 900))
            chances = np.full((900, 3), 0.1)
            chances[np.arange(900), said] = 0.8
            outputs = 3
        elif kind == "labels":
            labels = (draw.random((900, 5)) < [0.6, 0.5, 0.3, 0.2, 0.1]).astype(np.int8)
            said, outputs = np.where(draw.random((900, 5)) < 0.93, labels, 1 - labels), 5
            chances = np.where(said, 0.8, 0.1)
        else:
            labels, outputs = draw.gamma(2, 3, 900), 1
            said, chances = labels + draw.normal(0, 2, 900), np.zeros((900, 0))
        expected = objective.unit_ahead(labels, outputs)
        found = objective.contributions(labels, said if objective.of == "answers" else chances).unit
        assert 2 / 3 < expected / found < 3 / 2, (kind, expected, found)
        assert name != "accuracy" or expected == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["macro_f1", "weighted_f1", "balanced_accuracy", "accuracy"])
def test_of_too_few_labels_a_unit_is_that_of_accuracy(name: str) -> None:
    assert OBJECTIVES.named(name).unit_ahead(np.array([0]), 2) == 1


def uneven(folder: Path, classes: dict[str, int], seed: int, mistaken: float = 0.13) -> None:
    """`train.csv` and `test.csv` with so many rows of each class, of which one word tells them apart, mostly."""
    draw = np.random.default_rng(seed)
    names, words = list(classes), dict(zip(classes, [*POSITIVE, *NEGATIVE], strict=False))
    for split, times in (("train", 1), ("test", 2)):
        rows = [
            (words[str(draw.choice(names)) if draw.random() < mistaken else name], row, name)
            for name, count in classes.items()
            for row in range(times * count)
        ]
        texts = [" ".join([*draw.choice(NEUTRAL, 4), word, f"{split}{name}{row}"]) for word, row, name in rows]
        frame = pd.DataFrame({"text": texts, "label": [name for _, _, name in rows]})
        frame.sample(frac=1, random_state=seed).to_csv(folder / f"{split}.csv", index=False)


def run_study(
    tuneoff: Command, model: Path, folder: Path, objective: str, *options: str, **training: Any
) -> tuple[dict[str, Any], Path, str]:
    """The summary of a study of two arms that goes by an objective, its folder, and what it printed."""
    arms = ['method = "full"\nlearning_rate = 3e-3', 'method = "full"\nname = "slow"\nlearning_rate = 2e-3']
    toml = study_toml(model, folder, arms, **{"seeds": 2, "epochs": 8, **training})
    (folder / "study.toml").write_text(f'objective = "{objective}"\n{toml}')
    answer = tuneoff("run", "study.toml", "--out", "out", *options)
    assert answer.returncode == 0, answer.stderr
    return json.loads((folder / "out" / "summary.json").read_text()), folder / "out", answer.stdout


def check_against_scikit_learn(summary: dict[str, Any], out: Path, objective: str) -> None:
    """Compares what a summary says by the objective with scikit-learn's metric of the stored predictions."""
    metric = SKLEARN[objective]
    scores = {}
    for arm in summary["arms"]:
        frames = [
            pd.read_parquet(next((out / "runs").glob(f"{arm['arm']}-seed{seed}-*")) / "predictions.parquet")
            for seed in arm["seeds"]
        ]
        scores[arm["arm"]] = [metric(frame["label"].to_numpy(), frame["prediction"].to_numpy()) for frame in frames]
        assert arm["test_scores"] == pytest.approx(scores[arm["arm"]])
        interval = arm["test_score"]
        assert interval["mean"] == pytest.approx(np.mean(scores[arm["arm"]]))
        assert interval["ci_low"] < interval["mean"] < interval["ci_high"] <= 1
        assert arm["test_accuracy"]["mean"] == pytest.approx(
            np.mean([(frame["label"] == frame["prediction"]).mean() for frame in frames])
        )
    for pair in summary["comparisons"]:
        assert pair["metric"] == OBJECTIVES.named(objective).label
        assert pair["difference"]["mean"] == pytest.approx(np.mean(scores[pair["a"]]) - np.mean(scores[pair["b"]]))
    truth = frames[0]["label"].to_numpy()
    by_name = {baseline["baseline"]: baseline for baseline in summary["baselines"]}
    majority = np.full(len(truth), np.bincount(truth).argmax())
    assert by_name["majority"]["test_score"] == pytest.approx(metric(truth, majority))


@pytest.mark.long
def test_uneven_classes_by_mcc(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    uneven(tmp_path, {"good": 84, "bad": 36}, seed=1, mistaken=0.24)
    summary, out, printed = run_study(tuneoff, tiny_model, tmp_path, "mcc")
    assert (summary["objective"], summary["metric"]) == ("mcc", "MCC")
    check_against_scikit_learn(summary, out, "mcc")
    assert "of MCC" in summary["recommendation"]["reason"] + json.dumps(summary["recommendation"]["choose_now"])
    assert "test MCC" in printed
    for name in ("report.md", "report.html"):
        text = (out / name).read_text()
        assert "test MCC" in text
        assert "accurate than" not in text


def test_six_classes_by_macro_f1_with_the_best_epoch(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    uneven(tmp_path, {"one": 30, "two": 25, "three": 20, "four": 15, "five": 10, "six": 6}, seed=2)
    summary, out, _ = run_study(tuneoff, tiny_model, tmp_path, "macro_f1", "--no-report", select='"best"', epochs=4)
    check_against_scikit_learn(summary, out, "macro_f1")
    for path in (out / "runs").glob("*/result.json"):
        result = json.loads(path.read_text())
        reached = [point["validation_score"] for point in result["curve"]]
        selected = [point["epoch"] for point in result["curve"] if point["validation_score"] == max(reached)]
        assert result["selected_epoch"] in selected


@pytest.mark.long
def test_pairs_of_texts_by_balanced_accuracy(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    """What is so of a pair is in neither text alone: whether both say the same."""
    draw = np.random.default_rng(3)
    for split, rows in (("train", 160), ("test", 80)):
        both = draw.random((rows, 2)) < (0.5, 0.6)
        texts = np.where(both, POSITIVE[0], NEGATIVE[0])
        frame = pd.DataFrame({"premise": texts[:, 0], "hypothesis": texts[:, 1]})
        frame["premise"] += [f" {split}{row}" for row in range(rows)]
        same = (both[:, 0] == both[:, 1]) ^ (draw.random(rows) < 0.1)  # a tenth is mistaken
        frame["label"] = np.where(same, "same", "other")
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
    summary, out, _ = run_study(
        tuneoff, tiny_model, tmp_path, "balanced_accuracy", "--no-report", epochs=10, precision='"fp32"'
    )
    check_against_scikit_learn(summary, out, "balanced_accuracy")
    assert max(summary["arms"][0]["test_scores"]) > 0.8, "it reads both texts"


def test_an_unknown_objective_is_refused_with_the_near_one(
    tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.toml"
    study.write_text('objective = "macro-f1"\n' + study_toml(tiny_model, data_files, ["full"]))
    answer = tuneoff("plan", study)
    assert answer.returncode == 2
    assert "unknown objective 'macro-f1'; did you mean 'macro_f1'" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_an_objective_of_another_package_is_followed_like_any(
    tuneoff: Command, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, point = point_of("an-objective")
    name = point.partition(" ")[0]
    for variable, value in install_package(tmp_path / "site", guide("an-objective"), group, point).items():
        monkeypatch.setenv(variable, value)
    uneven(tmp_path, {"good": 60, "bad": 30}, seed=3)
    summary, out, _ = run_study(tuneoff, tiny_model, tmp_path, name, "--no-report", epochs=4, seeds=1)
    assert summary["metric"] == "geometric mean of recalls"
    for arm in summary["arms"]:
        frame = pd.read_parquet(next((out / "runs").glob(f"{arm['arm']}-seed0-*")) / "predictions.parquet")
        recalls = metrics.recall_score(frame["label"], frame["prediction"], average=None)
        assert arm["test_scores"][0] == pytest.approx(np.sqrt(recalls.prod()))
