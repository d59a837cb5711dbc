"""The time to classify one text: measured for every way of computing, on texts of all lengths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tuneoff as api
from conftest import Command, study_toml
from engine_parts import CPU, PACKED, PADDED, TOKENS, classifier
from stored import dictionaries
from tuneoff.analysis.pareto import pareto_fronts
from tuneoff.records.arm_summary import ArmSummary
from tuneoff.report import evidence
from tuneoff.spec import TrainingSpec
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.latency import inference_latency, spread_by_length


@pytest.fixture(scope="module")
def measured(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> api.StudyResults:
    folder = tmp_path_factory.mktemp("latency")
    arms = ['method = "full"\nlearning_rate = 3e-3', 'method = "qlora"\nlearning_rate = 4e-3', "head_only"]
    (folder / "study.toml").write_text(study_toml(tiny_model, data_files, arms, epochs=4))
    results = api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)
    assert results.failed == []
    return results


def test_every_run_has_a_latency(measured: api.StudyResults) -> None:
    for run in dictionaries(measured.runs):
        latency = run["inference_latency_seconds"]
        assert 0 < latency <= run["inference_latency_p95_seconds"]
        # All 60 test texts in batches take less than one by one, and are a part of what evaluation took.
        assert 60 / run["eval_seconds"] < run["inference_texts_per_second"] < 1e6
        # Half of the 30 timed texts took at least that long, within the run's wall time and outside the others.
        others = run["train_seconds"] + run["setup_seconds"] + run["eval_seconds"] + run["checkpoint_seconds"]
        assert 15 * latency < run["wall_seconds"] - others


def test_the_latency_of_an_unmerged_adapter_says_so_and_is_not_ranked(
    measured: api.StudyResults, tuneoff: Command
) -> None:
    found = measured.summary
    arms = _without_learning(found.arms)
    fronts = pareto_fronts(arms, found.comparisons)
    summary = found.model_copy(update={"arms": arms, "pareto": fronts})
    assert {arm.arm: arm.adapter_unmerged for arm in summary.scored_arms} == {
        "full": False, "qlora": True, "head_only": False,
    }  # fmt: skip
    shown = {
        row[0]: row[evidence.quality_headings(summary).index("time a text")] for row in evidence.quality_rows(summary)
    }
    assert all(" ms, 95% below " in text for text in shown.values())
    assert {name for name, text in shown.items() if text.endswith(" (unmerged)")} == {"qlora"}
    assert "qlora" not in summary.pareto["inference_latency_seconds"]
    assert any("adapter of qlora beside the weights" in note for note in summary.notes)
    said = evidence.fronts(summary)
    assert any(line.startswith("time to classify a text") and "without an unmerged adapter" in line for line in said)

    def recommended(prefer: str) -> dict[str, Any]:
        answer = tuneoff("recommend", measured.folder, "--margin", "0.98", "--prefer", prefer, "--json").stdout
        return json.loads(answer)

    by_latency = recommended("latency")
    assert by_latency["arm"] in ("full", "head_only")
    assert "qlora" not in by_latency["shown"]


def test_unmerged_adapters_are_ranked_among_themselves(measured: api.StudyResults) -> None:
    (qlora,) = (arm for arm in _without_learning(measured.summary.arms) if arm.arm == "qlora")
    fronts = pareto_fronts([qlora, qlora.model_copy(update={"arm": "other"})], [])
    assert fronts["inference_latency_seconds"] == ("qlora", "other")


def _without_learning(arms: Sequence[ArmSummary]) -> list[ArmSummary]:
    """What they have learned is no matter here."""
    return [arm.model_copy(update={"learning": None}) for arm in arms]


def test_a_run_on_several_devices_has_none(tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    study = study_toml(tiny_model, data_files, ["head_only"], seeds=1, epochs=1, parallel='"ddp"')
    (tmp_path / "study.toml").write_text(study)
    results = api.run_study(
        api.load_study(tmp_path / "study.toml", ["execution.devices_per_run=2"]), tmp_path / "out", report=False
    )
    assert [(run["status"], run["inference_latency_seconds"]) for run in dictionaries(results.runs)] == [("ok", None)]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("bert", {}), ("llama", {}), ("deberta-v2", {}), ("bert", {"compile": True}), ("bert", {"precision": "bf16"})],
    ids=str,
)
def test_a_text_alone_goes_the_way_of_evaluation(kind: str, settings: dict[str, Any]) -> None:
    loaded = classifier(kind, (PACKED | PADDED)[kind])
    training = TrainingSpec.model_validate({"batch_size": 4, **settings})
    precision = torch.bfloat16 if training.precision == "bf16" else torch.float32
    engine = make_engine(loaded.model, loaded, training, CPU, precision)
    list(engine.steps(TOKENS, [] if training.compile else [(np.arange(4), 1e-3)]))
    alone = np.concatenate([engine.classify(TOKENS, np.array([row])) for row in range(len(TOKENS))])
    tolerance = 0.02 if precision == torch.bfloat16 else 1e-5
    np.testing.assert_allclose(alone, engine.logits(TOKENS), rtol=tolerance, atol=tolerance)
    latency = inference_latency(engine, TOKENS)
    assert latency is not None
    assert 0 < latency.median <= latency.p95


def test_texts_are_spread_over_all_lengths() -> None:
    lengths = np.random.default_rng(0).permutation(np.arange(1, 1001))
    chosen = lengths[spread_by_length(lengths, 30)]
    assert (chosen[0], chosen[-1], len(set(chosen))) == (1, 1000, 30)
    assert np.diff(chosen).min() >= 34
    assert sorted(spread_by_length(np.array([5, 5, 5]), 30)) == [0, 1, 2]
    assert list(spread_by_length(np.array([7]), 30)) == [0]
