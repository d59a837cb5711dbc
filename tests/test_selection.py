"""Class weights, smoothed labels and the best epoch: what a run makes small, and which of its weights are kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

import tuneoff as api
from conftest import NEGATIVE, POSITIVE, Command, reviews, study_toml
from processes import Interrupter, logits
from stored import curve_point
from tuneoff.analysis.learning import run_state
from tuneoff.core.errors import UserError
from tuneoff.export.card import model_card
from tuneoff.export.refit import refit
from tuneoff.records.run import ScoredRun
from tuneoff.records.saved_model import SavedModel
from tuneoff.serving.predictor import Predictor
from tuneoff.spec import TrainingSpec
from tuneoff.study.preview import outline_study
from tuneoff.tasks.losses import CrossEntropy, balanced
from tuneoff.tasks.objectives.accuracy import Accuracy
from tuneoff.training.selection import is_over, selected

ARMS = [
    'method = "full"\nlearning_rate = 1e-3',
    'method = "adalora"\nlearning_rate = 2e-2',
    'method = "frozen_features"',
]


def _uneven(count: int, seed: int, first_row: int) -> pd.DataFrame:
    """Reviews of which one in five is positive; every fourth speaks for the other class, so that much is noise."""
    rows = reviews(4 * count, seed, first_row)
    rows = pd.concat([rows[rows["label"] == 0][: count * 4 // 5], rows[rows["label"] == 1][: count // 5]])
    rows["label"] = rows["label"].map({0: "ham", 1: "spam"})
    for place in range(0, len(rows), 4):
        other = NEGATIVE if rows.iloc[place, 1] == "spam" else POSITIVE
        rows.iloc[place, 0] = f"the film was {other[0]} {first_row + place}"
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uneven")
    for name, count, first_row in (("train", 160, 0), ("test", 60, 5000)):
        _uneven(count, first_row, first_row).to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def results(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> api.StudyResults:
    """A study that weighs its classes, smooths its labels and takes the best epoch."""
    folder = tmp_path_factory.mktemp("best")
    toml = study_toml(
        tiny_model,
        data,
        ARMS,
        seeds=1,
        epochs=10,
        batch_size=4,
        precision='"fp32"',
        class_weights='"balanced"',
        label_smoothing=0.1,
        select='"best"',
        patience=3,
    )
    (folder / "study.toml").write_text(toml)
    results = api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)
    assert results.failed == []
    return results


def _scored(results: api.StudyResults, arm: str) -> ScoredRun:
    (run,) = [run for run in results.runs if run.arm == arm]
    assert isinstance(run, ScoredRun)
    return run


def test_weights_are_as_scikit_learn_has_them() -> None:
    labels = np.repeat([0, 2, 3], [5, 3, 12])
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels)
    found = balanced(np.bincount(labels, minlength=5))
    np.testing.assert_allclose([found[label] for label in (0, 2, 3)], expected)
    assert found[1] == found[4] == 1.0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_over_a_split_are_those_of_torch(smoothing: float) -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(30, 3)).astype(np.float32), draw.integers(0, 3, size=30)
    loss = CrossEntropy((0.5, 1.0, 4.0), smoothing)
    weights = torch.tensor([0.5, 1.0, 4.0])
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels), weights)
    assert loss.mean_loss(logits, labels) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("accuracies", "losses", "best", "over_after"),
    [
        ([0.5, 0.7, 0.6, 0.6], [3, 2, 1, 0], 1, 4),
        ([0.7, 0.7, 0.7], [2, 1, 1], 1, None),
        ([0.8, 0.7, 0.7], [1, 0, 0], 0, 3),
    ],
)
def test_the_best_is_the_most_accurate_then_the_surest_then_the_first(
    accuracies: list[float], losses: list[float], best: int, over_after: int | None
) -> None:
    curve = [
        curve_point(epoch=place + 1, validation_accuracy=accuracy, validation_loss=loss)
        for place, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True))
    ]
    training = TrainingSpec(select="best", patience=2)
    assert selected(curve, training, Accuracy) == best
    over = [count for count in range(1, len(curve) + 1) if is_over(curve[:count], training, Accuracy)]
    assert over == ([] if over_after is None else [over_after])
    assert selected(curve, TrainingSpec(), Accuracy) == len(curve) - 1
    # What counts more where classes have weights is the accuracy that they weigh.
    weighed = [point.model_copy(update={"validation_weighted_accuracy": point.step / 1e3}) for point in curve]
    weighed[-1] = weighed[-1].model_copy(update={"validation_weighted_accuracy": 0.9})
    assert selected(weighed, training, Accuracy) == len(curve) - 1


def test_the_weights_of_the_best_epoch_are_tested_and_saved(results: api.StudyResults, data: Path) -> None:
    texts = pd.read_csv(data / "test.csv")["text"].tolist()
    for arm in ("full", "adalora"):
        run = _scored(results, arm)
        best = max(run.curve, key=lambda point: (point.validation_weighted_accuracy, -point.validation_loss))
        assert run.selected == best
        assert run.validation_accuracy == best.validation_accuracy
        assert run.selected_train_seconds == best.train_seconds <= run.train_seconds
        assert (len(run.curve), run.steps) == (best.epoch + 3, run.curve[-1].step), "it ends early"
        assert run.guess_loss == pytest.approx(math.log(2))
        loaded = Predictor({"": results.folder / "runs" / run.run_id / "model"}, device="cpu", precision="fp32")
        np.testing.assert_allclose(loaded.logits(texts), logits(results.folder, run.run_id), atol=1e-4)
    assert run_state(results, _scored(results, "full")) == "learned"
    assert _scored(results, "frozen_features").selected_epoch == 1
    summary = results.summary
    (note,) = [note for note in summary.notes if "best epoch on validation" in note]
    assert "full of epoch" in note
    assert "frozen_features" not in note


def test_an_interrupted_run_keeps_its_best_weights(
    results: api.StudyResults, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    run = _scored(results, "full")
    after = run.curve[run.selected.epoch - 1].step + 5  # within the epoch after the best
    spec = results.spec.model_copy(update={"arms": results.spec.arms[:1]})
    with pytest.raises(KeyboardInterrupt):
        api.run_study(spec, tmp_path / "out", Interrupter(after), report=False)
    stopped = {path.name for path in (tmp_path / "out" / "runs" / run.run_id).iterdir()}
    assert "checkpoint.pt" in stopped
    resumed = api.run_study(spec, tmp_path / "out", report=False)
    again = _scored(resumed, "full")
    assert again.resumed
    assert again.selected_epoch == run.selected_epoch
    np.testing.assert_array_equal(logits(resumed.folder, again.run_id), logits(results.folder, run.run_id))


def test_a_refit_ends_after_the_epoch_that_was_selected(results: api.StudyResults) -> None:
    run = _scored(results, "full")
    refitted = refit(results, run, "train+validation")
    record = refitted.record
    assert record.steps == run.selected.epoch * math.ceil(sum(record.examples.values()) / 4)
    assert record.test is not None
    saved = SavedModel.model_validate_json((refitted.model / "tuneoff.json").read_text())
    card = str(model_card(results, run, saved, record))
    assert "Classes are weighted so that each has the same say in training." in card
    assert "Labels are smoothed by 0.1." in card
    assert f"The weights are those after epoch {run.selected_epoch}, the best on validation." in card


def test_what_cannot_be_weighed_is_a_line_before_anything_is_written(
    results: api.StudyResults, tmp_path: Path, tuneoff: Command
) -> None:
    (tmp_path / "study.toml").write_text(results.spec.to_toml())
    lacks = api.load_study(tmp_path / "study.toml", ["training.class_weights={ham = 1}"])
    with pytest.raises(UserError, match="leaves out 'spam'; give each class a weight, or write 'balanced'"):
        api.run_study(lacks, tmp_path / "out", report=False)
    assert not (tmp_path / "out" / "plan.json").exists()
    answer = tuneoff("plan", "study.toml", "--set", "training.class_weights={ham = 1.0, spm = 2.0}")
    assert answer.returncode == 2
    assert answer.stderr.endswith("training.class_weights: there is no class 'spm'; did you mean 'spam'?\n")
    assert answer.stderr.count("\n") == 1
    weights = outline_study(results.spec).parts[0].class_weights
    assert weights == pytest.approx({"ham": 0.626, "spam": 2.48}, rel=1e-2)
