"""Whole studies on CUDA devices: on one, on two, beside each other, and what they tell of memory and energy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertModel

from conftest import bert_config, reviews, save_tokenizer, study_toml
from gpu_parts import CUDA, EAGER
from stored import dictionaries
from tiny_models import FITTING
from tuneoff.measure.energy import energy_meter
from tuneoff.records.measurements import PeakParts
from tuneoff.spec.arms import METHODS

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_a_study_runs_on_the_gpu(tiny_model: Any, data_files: Any, tmp_path: Any) -> None:
    import tuneoff

    arms = []
    for name, method in sorted(METHODS.classes().items()):
        options = {"method": name, **({} if method.fitted else {"learning_rate": 1e-3}), **FITTING.get(name, {})}
        arms.append("\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items()))
    text = study_toml(tiny_model, data_files, arms, device='"cuda"').replace("[execution]", "[execution]\nworkers = 4")
    (tmp_path / "study.toml").write_text(text)
    results = tuneoff.run_study(tuneoff.load_study(tmp_path / "study.toml"), tmp_path / "out")
    assert results.failed == []
    for run in dictionaries(results.runs):
        assert run["memory_kind"] == "cuda_allocated"
        step = "none" if run["method"] == "frozen_features" else "eager" if run["method"] in EAGER else "graph"
        assert run["conditions"]["engine"]["step"] == step, run["conditions"]
        assert run["peak_memory_bytes"]["train"] > 0
        if run["method"] == "frozen_features":
            assert run["memory_parts"] is None
            continue
        peak, parts = run["peak_memory_bytes"]["train"], PeakParts(**run["memory_parts"])
        assert abs(parts.total - peak) <= 0.02 * peak, (run["method"], parts, peak)
        assert (parts.graph_pools is not None) == (step == "graph")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp32", 0.01)])
def test_a_study_on_two_gpus_finds_what_one_gpu_finds(
    precision: str, tolerance: float, steady_model: Any, data_files: Any, tmp_path: Any
) -> None:
    import pandas as pd

    import tuneoff

    arms = ['method = "full"\nlearning_rate = 3e-4', 'method = "lora"\nlora_dropout = 0.0', "ia3", "head_only"]
    found = {}
    for parallel, devices in (("none", 1), ("ddp", 2), ("fsdp", 2)):
        chosen = arms if parallel == "fsdp" else [*arms, 'method = "qlora"\nlora_dropout = 0.0']
        settings: dict[str, Any] = {
            "batch_size": 13,
            "device": '"cuda"',
            "precision": f'"{precision}"',
            "parallel": f'"{parallel}"',
        }
        (tmp_path / "study.toml").write_text(study_toml(steady_model, data_files, chosen, seeds=1, **settings))
        spec = tuneoff.load_study(tmp_path / "study.toml", [f"execution.devices_per_run={devices}"])
        results = tuneoff.run_study(spec, tmp_path / parallel)
        assert results.failed == []
        for run in dictionaries(results.runs):
            predictions = pd.read_parquet(results.folder / "runs" / run["run_id"] / "predictions.parquet")
            found[parallel, run["arm"]] = run, np.stack(predictions["logits"].tolist())
    for (parallel, arm), (run, logits) in found.items():
        if parallel == "none":
            continue
        alone, expected = found["none", arm]
        assert run["conditions"]["devices"] == 2
        # Where batches are packed, which they are in bf16, the processes' messages are part of the graph.
        assert run["conditions"]["engine"]["step"] == ("graph" if (parallel, precision) == ("ddp", "bf16") else "eager")
        assert run["memory_kind"] == "cuda_allocated"
        assert run["curve"][-1]["train_loss"] == pytest.approx(alone["curve"][-1]["train_loss"], rel=tolerance), arm
        assert np.linalg.norm(logits - expected) / np.linalg.norm(expected) < tolerance, (parallel, arm)


def test_runs_share_a_gpu_as_far_as_its_memory_goes(steady_model: Any, data_files: Any, tmp_path: Any) -> None:
    import tuneoff

    arms = ['method = "full"\nlearning_rate = 3e-4', 'method = "lora"\nlora_dropout = 0.0', "frozen_features"]
    text = study_toml(steady_model, data_files, arms, seeds=3, tuning="trials = 2", device='"cuda"')
    (tmp_path / "study.toml").write_text(text)
    found = {}
    for workers in ("auto", 1):
        spec = tuneoff.load_study(tmp_path / "study.toml", [f"execution.workers={workers}"])
        results = tuneoff.run_study(spec, tmp_path / str(workers))
        assert results.failed == []
        found[workers] = {run["run_id"]: run for run in dictionaries([*results.runs, *results.trials])}
    assert found["auto"].keys() == found[1].keys()
    for name, run in found["auto"].items():
        alone = run["seed"] == 0 and not run["trial"]
        assert run["conditions"]["shared_device"] is not alone
        assert (run["own_seconds"] is None) is alone
        assert alone or run["energy_joules"] is None
        assert not found[1][name]["conditions"]["shared_device"]
        assert run.get("predictions_sha256") == found[1][name].get("predictions_sha256"), name


def test_a_run_alone_on_a_gpu_tells_its_energy(tmp_path: Path) -> None:
    import tuneoff

    if energy_meter(CUDA) is None:
        pytest.skip("this GPU has no counter of energy that can be read")
    config = bert_config(save_tokenizer(tmp_path / "model"))
    config.update({"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072})
    BertModel(config).save_pretrained(tmp_path / "model")
    reviews(4000, seed=1).to_csv(tmp_path / "train.csv", index=False)
    reviews(60, seed=2, first_row=5000).to_csv(tmp_path / "test.csv", index=False)
    text = study_toml(tmp_path / "model", tmp_path, ["full"], seeds=1, epochs=4, device='"cuda"')
    (tmp_path / "study.toml").write_text(text)
    results = tuneoff.run_study(tuneoff.load_study(tmp_path / "study.toml"), tmp_path / "out", report=False)
    assert results.failed == []
    (run,) = dictionaries(results.runs)
    assert run["train_seconds"] > 1
    assert 20 < run["energy_joules"] / run["train_seconds"] < 1000
    (arm,) = results.summary.scored_arms
    assert arm.energy_joules == run["energy_joules"]
