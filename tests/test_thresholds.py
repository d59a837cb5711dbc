"""From what probability on a label is answered: chosen on validation, stored with the model, the same everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn import metrics

import tuneoff
from conftest import Command, study_toml
from serve_parts import serving
from tuneoff.records.saved_model import TextRules
from tuneoff.spec.data import TASKS
from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.tasks.thresholds import choose_cuts

FILLING = ("the", "film", "was", "long", "and", "about", "a", "very", "scene")
RARE, HINTS = 0.12, ("awful", "boring")


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-values))


def drawn(seed: int, examples: int, offsets: list[float]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Log-odds that are exactly what labels are drawn by."""
    draw = np.random.default_rng(seed)
    log_odds = draw.normal(offsets, 2.0, (examples, len(offsets)))
    return log_odds, (draw.random(log_odds.shape) < sigmoid(log_odds)).astype(np.int8)


def test_cuts_for_f1_are_where_theory_has_them() -> None:
    """At half of the highest F1 that can be reached: of each label for macro F1, of all together for micro F1."""
    offsets = [-4.0, -2.0, 0.0, 1.0]
    log_odds, truth = drawn(0, 20_000, offsets)
    macro = sigmoid(choose_cuts(OBJECTIVES.named("macro_f1").of_labels, log_odds, truth))  # type: ignore[attr-defined]
    for label, chance in enumerate(macro):
        best = metrics.f1_score(truth[:, label], sigmoid(log_odds[:, label]) > chance)
        assert chance == pytest.approx(best / 2, abs=0.03)
    micro = sigmoid(choose_cuts(OBJECTIVES.named("micro_f1").of_labels, log_odds, truth))  # type: ignore[attr-defined]
    reached = metrics.f1_score(truth, sigmoid(log_odds) > micro, average="micro")
    assert micro == pytest.approx([reached / 2] * len(offsets), abs=0.04)


@pytest.mark.parametrize("name", ["balanced_accuracy", "mcc", "macro_f1", "cohen_kappa", "weighted_f1"])
@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (3.0, 2.0), (0.4, -1.0)])
def test_a_threshold_of_two_classes_is_near_the_best_of_many_texts(name: str, slope: float, offset: float) -> None:
    """Also where probabilities are far too sure, or those of a rare class too high."""
    objective = OBJECTIVES.named(name)
    log_odds, truth = drawn(1, 30_000, [-2.5])
    logits = np.concatenate([np.zeros_like(log_odds), slope * log_odds + offset], axis=1).astype(np.float32)
    codes = truth[:, 0].astype(np.int64)
    task = TASKS.named("single_label")(TextRules(label_names=("usual", "rare"), max_length=8))
    known, unknown = slice(400), slice(400, None)
    (threshold,) = task.thresholds(objective, logits[known], codes[known])
    cuts = np.quantile(logits[unknown, 1], np.linspace(0.01, 0.99, 200))
    best = max(objective.value(codes[unknown], (logits[unknown, 1] > cut).astype(int)) for cut in cuts)
    decided = TASKS.named("single_label")(task.rules.model_copy(update={"thresholds": (threshold,)}))
    answers = decided.answers(logits[unknown])
    np.testing.assert_array_equal(answers, decided.probabilities(logits[unknown])[:, 1] > threshold)
    assert objective.value(codes[unknown], answers) > best - 0.02
    distances = decided.certainty(logits[unknown])
    for near, moved in ((distances < 0.1, True), (distances > 0.1, False)):
        other = logits[unknown][near] - np.where(answers[near], 0.1, -0.1)[:, None] * np.array([0, 1], dtype=np.float32)
        assert (decided.answers(other) != answers[near]).all() == moved


def test_few_texts_of_a_label_leave_its_threshold_where_theory_has_it() -> None:
    """The cut that did best on them would follow the luck of two texts."""
    chosen = []
    for seed in range(30):
        log_odds, truth = drawn(seed, 60, [-3.5])
        chosen.append(float(sigmoid(choose_cuts(OBJECTIVES.named("macro_f1").of_labels, log_odds, truth))[0]))  # type: ignore[attr-defined]
    assert np.std(chosen) < 0.12
    assert 0.15 < np.median(chosen) < 0.5


def test_what_says_the_same_of_all_texts_has_no_threshold_to_choose() -> None:
    constant = np.full((50, 2), 0.3)
    truth = np.eye(2, dtype=np.int8)[[0, 1] * 25]
    cuts = choose_cuts(OBJECTIVES.named("macro_f1").of_labels, constant, truth)  # type: ignore[attr-defined]
    assert np.isfinite(cuts).all()


def write_rare(path: Path, rows: int, seed: int) -> None:
    """A CSV of two classes, one of them rare, whose words hint at it without giving it away."""
    draw = np.random.default_rng(seed)
    frame = []
    for row in range(rows):
        rare = draw.random() < RARE
        hints = [hint for hint in HINTS if draw.random() < (0.75 if rare else 0.15)]
        words = [*draw.choice(FILLING, 5), *hints, f"{path.stem}{row}"]
        draw.shuffle(words)
        frame.append({"text": " ".join(words), "label": "rare" if rare else "usual"})
    pd.DataFrame(frame).to_csv(path, index=False)


@pytest.fixture(scope="module")
def uneven(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two studies by MCC of one data set, one of which answers from a half on."""
    folder = tmp_path_factory.mktemp("uneven")
    write_rare(folder / "train.csv", 480, seed=1)
    write_rare(folder / "test.csv", 300, seed=2)
    arms = ['method = "full"\nlearning_rate = 3e-3']
    for name in ("chosen", "half"):
        toml = study_toml(tiny_model, folder, arms, seeds=1, epochs=4, thresholds=f'"{name}"')
        (folder / f"{name}.toml").write_text('objective = "mcc"\n' + toml)
        tuneoff.run_study(tuneoff.load_study(folder / f"{name}.toml"), folder / name, report=name == "chosen")
    return folder


def runs_of(folder: Path) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    found = sorted((folder / "runs").iterdir())
    return [
        (json.loads((run / "result.json").read_text()), pd.read_parquet(run / "predictions.parquet")) for run in found
    ]


def test_an_uneven_study_by_mcc(uneven: Path, tuneoff: Command, tmp_path: Path) -> None:
    half = {result["run_id"]: frame for result, frame in runs_of(uneven / "half")}
    summary = json.loads((uneven / "chosen" / "summary.json").read_text())
    scores = []
    for result, frame in runs_of(uneven / "chosen"):
        assert result["run_id"] not in half, "other answers are another result"
        logits = np.stack(list(frame["logits"])).astype(np.float64) / result["temperature"]
        (threshold,) = result["thresholds"]
        chances = sigmoid(logits[:, 1] - logits[:, 0])
        np.testing.assert_array_equal(frame["prediction"], chances > threshold)
        scores.append(metrics.matthews_corrcoef(frame["label"], frame["prediction"]))
        assert result["test_score"] == pytest.approx(scores[-1])
        assert result["test_accuracy"] == pytest.approx((frame["label"] == frame["prediction"]).mean())
    (arm,) = summary["arms"]
    assert arm["test_scores"] == pytest.approx(scores)
    thresholds = [result["thresholds"][0] for result, _ in runs_of(uneven / "chosen")]
    classes = arm["by_class"]["classes"]
    assert classes["usual"]["threshold"] == pytest.approx(np.mean(thresholds))
    assert classes["rare"]["threshold"] == pytest.approx(1 - np.mean(thresholds))
    for result, frame in runs_of(uneven / "half"):
        assert result["thresholds"] == []
        np.testing.assert_array_equal(frame["prediction"], np.stack(list(frame["logits"])).argmax(axis=1))

    (run, frame), *_ = runs_of(uneven / "chosen")
    model = uneven / "chosen" / "runs" / run["run_id"] / "model"
    answer = tuneoff("predict", model, "--file", uneven / "test.csv", "--out", "labels.csv", "--probabilities")
    assert answer.returncode == 0, answer.stderr
    said = pd.read_csv(tmp_path / "labels.csv")
    names = np.array(["rare", "usual"])
    assert said["predicted_label"].tolist() == names[frame["prediction"]].tolist()


def test_a_server_puts_the_answer_first(uneven: Path) -> None:
    (run, frame), *_ = runs_of(uneven / "chosen")
    model = uneven / "chosen" / "runs" / run["run_id"] / "model"
    texts = pd.read_csv(uneven / "test.csv")["text"].tolist()[:40]
    names = np.array(["rare", "usual"])[frame["prediction"]]
    with serving(model) as server:
        (info,) = server.ask("/info").json["models"].values()
        assert info["thresholds"] == pytest.approx([1 - run["thresholds"][0], run["thresholds"][0]])
        found = server.predict([[text] for text in texts]).json
        assert [scores[0]["label"] for scores in found] == names[:40].tolist()
