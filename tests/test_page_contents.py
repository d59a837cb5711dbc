"""What the page, its charts and its tables say, without a browser."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tuneoff as api
from conftest import Command
from page_study import ARMS, page_file, study_folder
from stored import dictionary
from tuneoff.analysis.disagreements import find_disagreements
from tuneoff.core.files import canonical_hash
from tuneoff.core.texts import shortened
from tuneoff.records.measurements import PeakParts
from tuneoff.records.tuning import ArmTuning, TrialSummary, TuningSummary
from tuneoff.report import evidence
from tuneoff.report.charts import CHARTS, draw_charts, kinds_of, save_charts
from tuneoff.report.charts.style import arm_colours, styled
from tuneoff.report.memory_parts import part_rows, parts_of, shown_parts
from tuneoff.report.memory_words import where_memory_goes
from tuneoff.report.page import PageKeeper, sort_value, write_page
from tuneoff.report.pdf import report_content
from tuneoff.report.words import megabytes, memory_columns
from tuneoff.report.write import write_markdown
from tuneoff.runs.run import Run
from tuneoff.spec.arms import METHODS
from tuneoff.study.ahead import Ahead

__all__ = ["page_file", "study_folder"]


def test_a_single_epoch_is_no_curve(study_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one-epoch"
    shutil.copytree(study_folder, folder)
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        del result["sha256"]
        result |= {"curve": result["curve"][:1], "selected_epoch": 1}
        path.write_text(json.dumps({**result, "sha256": canonical_hash(result)}))
    drawn = set(draw_charts(api.load_results(folder)))
    assert set(CHARTS) - drawn == {
        "tuning", "validation_accuracy_by_epoch", "validation_loss_by_epoch", "train_loss_by_epoch",
        "differences",  # by their first epochs alone no two of these arms have learned
    }  # fmt: skip
    assert "Learning curves" in write_page(api.load_results(folder)).read_text()  # by training examples
    study = (folder / "study.toml").read_text()
    assert "train_sizes = [\n    60,\n    240,\n]\n" in study
    (folder / "study.toml").write_text(study.replace("    60,\n", ""))
    assert "accuracy_by_train_size" not in draw_charts(api.load_results(folder))


def test_reserved_memory_is_left_out_where_it_says_nothing(page_file: Path, study_folder: Path) -> None:
    summary = api.load_results(study_folder).summary
    assert "reserved in training" not in page_file.read_text()
    arms = [arm.model_copy(update={"memory_kind": "cuda_allocated"}) for arm in summary.scored_arms]
    on_gpu = summary.model_copy(update={"arms": tuple(arms)})
    assert "peak_reserved_memory_bytes" not in memory_columns(on_gpu)
    arms[0] = arms[0].model_copy(update={"peak_reserved_memory_bytes": 2 * arms[0].peak_train_memory_bytes})
    on_gpu = summary.model_copy(update={"arms": tuple(arms)})
    assert memory_columns(on_gpu)["peak_reserved_memory_bytes"] == "reserved in training"
    chart = CHARTS["memory_breakdown"].draw(on_gpu, [])
    assert chart is not None
    assert "reserved in training" in json.dumps(chart.to_dict())


def test_words_say_where_memory_went(page_file: Path, study_folder: Path) -> None:
    summary = api.load_results(study_folder).summary
    said = where_memory_goes(summary)
    assert said
    assert all(sentence in html.unescape(page_file.read_text()) for sentence in said)
    arms = {arm.arm: arm for arm in summary.scored_arms}
    for sentence in said:
        arm = arms[sentence.partition(":")[0]]
        assert arm.weights_memory_bytes
        assert arm.optimiser_memory_bytes is not None
        assert f"{megabytes(arm.weights_memory_bytes)} of weights" in sentence
        assert "gradient_checkpointing" not in sentence  # of which memory on a CPU says little
    full = next(arm for arm in arms.values() if arm.method == "full")
    trained, adapted = full.trainable_parameters, min(arm.trainable_parameters for arm in arms.values())
    each = 12 if full.precision == "bf16" else 8  # two moments, and a master of weights that are not float32 themselves
    assert full.optimiser_memory_bytes == pytest.approx(each * trained, rel=0.01)
    assert min(arm.optimiser_memory_bytes or 0 for arm in arms.values()) <= each * adapted + 4096
    of_before = {"memory_kind": "cuda_allocated", "memory_parts": None}
    on_gpu = [arm.model_copy(update=of_before) for arm in arms.values()]
    told = where_memory_goes(summary.model_copy(update={"arms": tuple(on_gpu)}))
    assert all("gradient_checkpointing" in sentence for sentence in told)


def test_the_parts_of_memory_are_a_chart_and_a_table(page_file: Path, study_folder: Path) -> None:
    summary = api.load_results(study_folder).summary
    page = html.unescape(page_file.read_text())
    assert shown_parts(summary) == ["Python, libraries", "weights", "optimiser", "steps"]
    assert "On a CPU it is resident memory" in kinds_of(summary)["memory_parts"].caption
    for arm in summary.scored_arms:
        parts = parts_of(arm)
        assert abs(sum(parts.values()) - arm.peak_train_memory_bytes) <= 0.02 * arm.peak_train_memory_bytes
        assert f"{megabytes(parts['Python, libraries'])} of Python and libraries" in page
    assert all(text in page for row in part_rows(summary) for text in row)

    small = PeakParts(weights=10**9, optimiser=10**7, gradients=10**6, activations=7 * 10**9, workspace=10**8,
                      temporary=10**9, graph_pools=8 * 10**9, context=6 * 10**8)  # fmt: skip
    peaks = {"peak_train_memory_bytes": small.total, "peak_reserved_memory_bytes": small.total + 5 * 10**8}
    first, *others = summary.scored_arms
    on_gpu = first.model_copy(update={"memory_kind": "cuda_allocated", "memory_parts": small, **peaks})
    assert sum(parts_of(on_gpu).values()) == small.total + 11 * 10**8
    of_before = [arm.model_copy(update={"memory_parts": None}) for arm in others]
    mixed = summary.model_copy(update={"arms": (on_gpu, *of_before)})
    assert "steps" not in shown_parts(mixed)
    (said,) = [sentence for sentence in where_memory_goes(mixed) if sentence.startswith(f"{first.arm}:")]
    assert "7,000 MB (77% of its peak) of activations, 1.00 MB of gradients, and 1,100 MB of results" in said
    assert "gradient_checkpointing" in said
    chart = CHARTS["memory_parts"].draw(mixed, [])
    assert chart is not None
    styled(chart, "container").to_dict(validate=True)
    drawn: Any = chart.layer
    bars, (whole,) = (layer.data.values for layer in drawn)
    assert [bar["part"] for bar in bars] == shown_parts(mixed)  # from the left, of the arm whose parts are known
    assert sum(bar["value"] for bar in bars) == pytest.approx(whole["value"])
    none = summary.model_copy(update={"arms": tuple(of_before)})
    assert CHARTS["memory_parts"].draw(none, []) is None
    assert not kinds_of(none)["memory_parts"].caption


def test_commands_are_quoted_for_a_shell(study_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "it's $HOME & more"
    shutil.copytree(study_folder, folder)
    results = api.load_results(folder)
    page = html.unescape(write_page(results).read_text())
    (command,) = re.findall(r'aria-label="Command"><code>(.*)</code>', page)
    assert shlex.split(command) == ["tuneoff", "run", str(folder / "study.toml"), "--out", str(folder)]
    assert f"    {command}\n" in write_markdown(results).read_text()
    (block,) = [section for section in report_content(results)["sections"] if section["title"] == "How to repeat it"]
    assert block["blocks"][0] == {"code": command}


def test_a_front_that_holds_every_arm_is_one_line(study_folder: Path) -> None:
    summary = api.load_results(study_folder).summary
    merged = {"adapter_unmerged": False, "learning": None}
    arms = tuple(arm.model_copy(update=merged) for arm in summary.scored_arms)
    names = tuple(arm.arm for arm in arms)
    everyone = dict.fromkeys(summary.pareto, names)
    summary = summary.model_copy(update={"arms": arms, "pareto": everyone})
    assert evidence.fronts(summary) == ["every cost: all 3 arms; none is shown to be beaten by one that costs no more"]
    alone = {**everyone, "train_seconds": names[:1]}
    first, *others = evidence.fronts(summary.model_copy(update={"pareto": alone}))
    assert first.startswith(
        "memory in training, trainable parameters, checkpoint, cost of a run, time to classify a text: all 3 arms;"
    )
    assert others == [f"time to train: {names[0]}"]


def test_the_page_is_one_file_of_moderate_size(page_file: Path, study_folder: Path) -> None:
    text_of_page = page_file.read_text()
    assert len(text_of_page.encode()) < 2_000_000
    assert page_file == study_folder / "report.html"
    environment = json.loads((study_folder / "environment.json").read_text())
    for text in (f"tuneoff run {study_folder / 'study.toml'}", *environment["versions"].values()):
        assert text in text_of_page


def test_after_the_last_run_the_page_is_left_to_the_end_of_the_study(study_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(study_folder, folder)
    page = folder / "report.html"
    page.unlink()
    result = api.load_results(folder).runs[0]
    run = Run(result.run_id, METHODS.classes()["full"].model_validate({"method": "full"}), 0, 1)
    keeper = PageKeeper(folder, pytest.fail)
    keeper.planned(2, 1, 1, "run", Ahead())
    keeper.run_finished(run, result)
    assert not page.exists()
    keeper.planned(2, 0, 1, "run", Ahead())
    keeper.run_finished(run, result)
    assert page.exists()


def test_runs_on_a_gpu_do_not_wait_for_the_page(study_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(study_folder, folder)
    (folder / "report.html").unlink()
    said: list[str] = []
    keeper = PageKeeper(folder, said.append)
    result = api.load_results(folder).runs[0]
    assert result.conditions is not None
    on_gpu = result.model_copy(update={"conditions": result.conditions.model_copy(update={"device_type": "cuda"})})
    run = Run(result.run_id, METHODS.classes()["full"].model_validate({"method": "full"}), 0, 1)
    keeper.planned(3, 0, 1, "run", Ahead())
    keeper.run_finished(run, on_gpu)
    keeper.wait()
    assert (folder / "report.html").exists()
    assert not said
    shutil.rmtree(folder)  # so that it cannot be written again, which is said, and nothing else comes of it
    keeper = PageKeeper(folder, said.append)
    keeper.planned(3, 0, 1, "run", Ahead())
    keeper.run_finished(run, on_gpu)
    keeper.wait()
    assert "report.html is not kept up to date" in said[0]


def test_charts_are_valid_and_become_svg_and_png(study_folder: Path, tmp_path: Path) -> None:
    results = api.load_results(study_folder)
    for chart in draw_charts(results).values():
        styled(chart, "container").to_dict(validate=True)
    written = save_charts(results, tmp_path)
    assert set(written) == set(CHARTS) - {"tuning"}
    colours = arm_colours(results.summary)
    assert len(set(colours.values())) == len(ARMS)
    for name, path in written.items():
        svg = path.read_text()
        ET.fromstring(svg)
        assert CHARTS[name].title in svg
        if name not in ("differences", "confusion_matrix", "memory_parts"):  # where colours are not arms'
            for arm, colour in colours.items():
                assert colour in svg, (name, arm)
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_tuned_study_shows_its_trials(study_folder: Path) -> None:
    summary = api.load_results(study_folder).summary
    trials = tuple(
        TrialSummary(learning_rate=rate, validation_score=score, validation_accuracy=score, validation_loss=score,
                     score=score, steps=9,
                     learned=score is not None, too_high=False)
        for rate, score in ((1e-4, 0.6), (1e-3, None))
    )  # fmt: skip
    full = ArmTuning(arm="full", part="", chosen=1e-4, at_edge=True, passed_over=None, train_seconds=1.0, trials=trials)
    tuning = TuningSummary(
        strategy="grid", seeds=(0,), runs=2, train_seconds=1.0, wall_seconds=2.0, few_validation=None, untuned=(),
        arms=(full,),
    )  # fmt: skip
    chart = CHARTS["tuning"].draw(summary.model_copy(update={"tuning": tuning}), [])
    assert chart is not None
    spec = styled(chart, "container").to_dict()
    (rows,) = spec["datasets"].values() if "datasets" in spec else [spec["data"]["values"]]
    assert [(row["rate"], row["accuracy"], row["chosen"]) for row in rows] == [(1e-4, 60.0, True)]


def test_disagreements_are_those_with_the_most_spread_between_arms(study_folder: Path) -> None:
    results = api.load_results(study_folder)
    learned = [arm["arm"] for arm in dictionary(results.summary)["arms"] if arm["learning"]["state"] == "learned"]
    assert 2 <= len(learned) < len(ARMS), "of an arm that did not learn nothing is told"
    right = pd.DataFrame({arm: results.correct(arm).mean(axis=0) for arm in learned})
    found = find_disagreements(results)
    assert 0 < len(found) <= 10
    spread = right.var(axis=1)
    assert spread[[entry.example for entry in found]].tolist() == spread.nlargest(len(found)).tolist()
    test = pd.read_parquet(study_folder / "data" / "test.parquet")
    names = results.prepared.label_names
    for entry in found:
        row = test.loc[[entry.example]].iloc[0]
        assert entry.text == shortened(row["text"], 300)
        assert entry.file is not None
        assert entry.row is not None
        file = pd.read_csv(entry.file)
        assert (Path(entry.file).name, file["text"][entry.row - 1]) == ("test.csv", row["text"])
        assert entry.label == names[row["label"]]
        for arm, answer in entry.arms.items():
            assert answer.right == right.loc[entry.example, arm]
            assert (answer.answer == entry.label) or answer.right <= 0.5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.3 s", 12.3),
        ("2 min 05 s", 125.0),
        ("8.1 ms", 0.0081),
        ("1,676 MB", 1.676e9),
        ("36.0 kJ", 36e3),
        ("39.4 mg", 0.0394),
        ("22,713,986", 22_713_986.0),
        ("76.7 to 88.5", 76.7),
        ("82.9% (means nothing)", 82.9),
        ("50.0% †", 50.0),
        ("61.0 s (shared)", 61.0),
        ("oom", None),
        ("", None),
    ],
)
def test_cells_are_sorted_by_what_they_mean(text: str, value: float | None) -> None:
    assert sort_value(text) == pytest.approx(value)


def test_a_report_of_damaged_data_is_refused_in_one_line(study_folder: Path, tuneoff: Command, tmp_path: Path) -> None:
    for name in ("test.parquet", "prepared.json"):
        copy = tmp_path / name
        shutil.copytree(study_folder, copy)
        (copy / "data" / name).write_bytes(b"PAR1 cut short")
        answer = tuneoff("report", copy)
        assert answer.returncode == 2
        assert f"{copy / 'data' / name} is missing or damaged" in answer.stderr
        assert answer.stderr.count("\n") == 1
