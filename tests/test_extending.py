"""Architectures, trackers, executors and quantisations of other packages, from the guides to them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from another_package import guide, point_of
from conftest import Command, Install, save_tokenizer, study_toml

ARCHITECTURE = guide("an-architecture")


@pytest.mark.long
def test_an_architecture_of_another_package_is_known(
    install: Install, tuneoff: Command, data_files: Path, tmp_path: Path
) -> None:
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        ModernBertDecoderConfig,
        ModernBertDecoderModel,
    )

    model = tmp_path / "model"
    config = ModernBertDecoderConfig(
        vocab_size=save_tokenizer(model), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=64, local_attention=8, pad_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    ModernBertDecoderModel(config).save_pretrained(model)
    study = tmp_path / "study.toml"
    study.write_text(study_toml(model, data_files, ["full"], seeds=1, epochs=1, precision='"fp32"'))
    path = install(ARCHITECTURE, "tuneoff.architectures", "m = tuneoff_more:ModernBertDecoder")
    answer = tuneoff("run", "--no-report", study, "--out", tmp_path / "out", **path)
    assert answer.returncode == 0, answer.stderr
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert json.loads((run / "result.json").read_text())["conditions"]["engine"]["batches"] == "packed"
    saved = AutoModelForSequenceClassification.from_pretrained(run / "model", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    texts = pd.read_parquet(tmp_path / "out" / "data" / "test.parquet")["text"]
    stored = np.stack(list(pd.read_parquet(run / "predictions.parquet")["logits"]))
    for text, logits in zip(texts[:10], stored, strict=False):
        inputs = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
        with torch.no_grad():
            alone = saved(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[0]
        np.testing.assert_allclose(logits, alone.numpy(), rtol=0, atol=1e-5)
    taken = ARCHITECTURE.replace('"modernbert-decoder"', '"bert"')
    answer = tuneoff("plan", study, **install(taken, "tuneoff.architectures", "m = tuneoff_more:ModernBertDecoder"))
    assert answer.returncode == 2
    assert "two architectures are called 'bert': " in answer.stderr


@pytest.mark.long
def test_a_tracker_and_an_executor_of_another_package(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    (group, diary), (other_group, one_by_one) = point_of("a-tracker"), point_of("an-executor")
    code = guide("a-tracker") + guide("an-executor")
    path = install(code, group, f"{diary}\n[{other_group}]\n{one_by_one}")
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text(study_toml(tiny_model, data_files, ["head_only", "ia3"], seeds=1))
    beside = ("--set", "tracking.diary=true", "--executor", "one-by-one")
    for _ in range(2):  # what has been told is not told again
        answer = tuneoff("run", "--no-report", study, "--out", out, *beside, **path)
        assert answer.returncode == 0, answer.stderr
        *runs, end = (out / "diary.txt").read_text().splitlines()
        assert [line.split()[1:] for line in runs] == [["head_only", "ok"], ["ia3", "ok"]]
        assert len({line.split()[0] for line in runs}) == 2
        assert end == "tiny has ended"
    assert f"diary: {out / 'diary.txt'}" in answer.stdout
    assert len(list((out / "runs").iterdir())) == 2
    assert (
        tuneoff("run", "--no-report", study, "--out", tmp_path / "plain", "--set", "training.device=cpu").returncode
        == 0
    )
    for run in (out / "runs").iterdir():  # what carries a run out decides nothing of its result
        results = [
            json.loads((folder / "runs" / run.name / "result.json").read_text()) for folder in (out, tmp_path / "plain")
        ]
        assert results[0]["predictions_sha256"] == results[1]["predictions_sha256"]
    for setting, said in (
        (
            "execution.executor=one-by-on",
            "execution.executor: unknown executor 'one-by-on'; did you mean 'one-by-one'?",
        ),
        ("tracking.dairy=true", "unknown field 'tracking.dairy'; did you mean 'diary'?"),
    ):
        answer = tuneoff("plan", study, "--set", setting, **path)
        assert answer.returncode == 2
        assert said in answer.stderr
    study.write_text(study.read_text().replace('name = "tiny"', 'name = "secret"'))
    answer = tuneoff("run", "--no-report", study, "--out", tmp_path / "hidden", *beside, **path)
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert "the study is secret" in answer.stderr
    assert not (tmp_path / "hidden").exists()


def test_a_quantization_of_another_package_stores_a_backbone(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    path = install(guide("a-quantization"), *point_of("a-quantization"))
    assert "nf4-single" in json.loads(tuneoff("methods", "lora", "--json", **path).stdout)["lora"]["quantizations"]
    study = tmp_path / "study.toml"
    arm = 'method = "ia3"\nlearning_rate = 1e-2\nquantization = "nf4-single"'
    study.write_text(study_toml(tiny_model, data_files, [arm], seeds=1))
    assert tuneoff("run", "--no-report", study, "--out", tmp_path / "out", **path).returncode == 0
    (model,) = (tmp_path / "out" / "runs").glob("ia3-*/model")
    stored = json.loads((model / "quantization_config.json").read_text())
    assert (stored["bnb_4bit_quant_type"], stored["bnb_4bit_use_double_quant"]) == ("nf4", False)
    assert "0" in tuneoff("predict", model, "good film", **path).stdout
    answer = tuneoff("plan", study)
    assert answer.returncode == 2
    assert "unknown quantization 'nf4-single'" in answer.stderr
