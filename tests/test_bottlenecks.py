"""Bottleneck adapters: where they are put, and what is saved of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Command, study_toml
from matrix import adapted, arm_of, source_of
from tuneoff.core.errors import UserError


@pytest.mark.parametrize(
    ("kind", "houlsby", "pfeiffer"),
    [
        ("bert", ["attention.output.dense", "output.dense"], ["output.dense"]),
        ("llama", ["o_proj", "down_proj"], ["down_proj"]),
    ],
)
def test_where_they_stand(kind: str, houlsby: list[str], pfeiffer: list[str], tmp_path: Path) -> None:
    source = source_of(kind, tmp_path)
    for method, ends in (("houlsby", houlsby), ("pfeiffer", pfeiffer)):
        model, loaded = adapted(arm_of(method, bottleneck_size=4), source)
        layers = [name.removesuffix(".bottleneck") for name, _ in model.named_modules() if name.endswith(".bottleneck")]
        assert len(layers) == len(ends) * len(loaded.architecture.blocks_of(model))
        assert all(any(name.endswith(end) for end in ends) for name in layers)


def test_named_layers_and_layers_that_are_not_there(tmp_path: Path) -> None:
    source = source_of("bert", tmp_path)
    model, _ = adapted(arm_of("houlsby", target_modules=("intermediate.dense",), bottleneck_size=4), source)
    assert sum(name.endswith(".bottleneck") for name, _ in model.named_modules()) == 2
    with pytest.raises(UserError, match="'nonsense' is no linear layer of this model"):
        adapted(arm_of("pfeiffer", target_modules=("nonsense",)), source)


@pytest.mark.wide
def test_a_study_with_them_and_its_exports(
    tuneoff: Command, tmp_path: Path, tiny_model: Path, data_files: Path
) -> None:
    study, out = tmp_path / "study.toml", tmp_path / "out"
    arms = ['method = "houlsby"\nlearning_rate = 1e-3\nbottleneck_size = 8\nquantization = "nf4"', "pfeiffer"]
    study.write_text(study_toml(tiny_model, data_files, arms, seeds=1))
    answer = tuneoff("run", "--no-report", study, "--out", out, "--json")
    assert answer.returncode == 0, answer.stderr
    trained = {arm["arm"]: arm["trainable_parameters"] for arm in json.loads(answer.stdout)["summary"]["arms"]}
    assert trained == {"houlsby": 2 * 2 * (8 * 129 + 64) + 130, "pfeiffer": 2 * (48 * 129 + 64) + 130}
    for kind in ("model", "onnx"):
        exported = tuneoff("export", out, "--arm", "pfeiffer", "--to", tmp_path / kind, "--format", kind)
        assert exported.returncode == 0, exported.stderr
    refused = tuneoff("export", out, "--arm", "pfeiffer", "--to", tmp_path / "merged", "--format", "merged")
    assert refused.returncode == 2
    assert "cannot be merged into weights; use --format onnx or model" in refused.stderr
    with_4_bits = tuneoff("export", out, "--arm", "houlsby", "--to", tmp_path / "4-bits")
    assert with_4_bits.returncode == 0, with_4_bits.stderr
