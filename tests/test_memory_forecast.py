"""Memory of a GPU, foretold without one: what is added up, by purpose, and what `plan --gpu-memory` makes of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Command, study_toml
from tiny_models import FITTING, config_of
from tuneoff.core.errors import UserError
from tuneoff.measure.meta_memory import BLOCK, MetaMemory
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.quantised import Quantisation
from tuneoff.runs.memory_forecast import ArmForecast, BatchShape, largest_batch
from tuneoff.spec import TrainingSpec, load_study
from tuneoff.spec.arms import METHODS
from tuneoff.spec.quantization import QUANTIZATIONS
from tuneoff.study.memory import outline_memory

META = torch.device("meta")
WIDE = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 3}
BATCH = BatchShape(tokens=4096, sequences=16, longest=256)


def forecast(
    method: str, kind: str = "bert", training: dict[str, Any] | None = None, layers_built: int = 3, **options: Any
) -> ArmForecast:
    arm = METHODS.named(method).model_validate({"method": method, **options})
    config = config_of(kind, **{**WIDE, "num_hidden_layers": layers_built}, max_position_embeddings=512)
    config.num_labels = 2
    return ArmForecast(arm, config, TrainingSpec(batch_size=16, **(training or {})))


def test_tensors_count_from_when_they_are_made_until_nothing_refers_to_them() -> None:
    memory = MetaMemory()
    with memory, memory.making("first"):
        kept = torch.empty(1000, device=META)
        gone = torch.empty(5000, device=META)
        view = gone[10:]
        del gone
        assert memory.live == {"first": 4096 + 20480}  # in blocks; a view holds what it looks into
        with memory.making("second"):
            doubled = view * 2
        del view, doubled
    assert memory.live == {"first": 4096, "second": 0}
    assert memory.at_peak["second"] == -(-4 * 4990 // BLOCK) * BLOCK
    assert kept.is_meta


def test_what_autograd_keeps_counts_until_it_is_used() -> None:
    weight = torch.empty(256, 256, device=META, requires_grad=True)
    memory = MetaMemory()
    with memory:
        out = torch.empty(64, 256, device=META) @ weight
        out = torch.relu(out).sum()
        # The input is kept for the weight's gradient, and relu's result for its own.
        assert sum(memory.live.values()) == 2 * 64 * 256 * 4 + BLOCK
        out.backward()
        del out
    assert weight.grad is not None
    assert sum(memory.live.values()) == 256 * 256 * 4


@pytest.mark.parametrize("kind", ["bert", "llama", "deberta-v2", "gpt2"])
def test_full_fine_tuning_takes_two_bytes_a_weight_and_twelve_for_its_optimiser(kind: str) -> None:
    found = forecast("full", kind)
    parts = found.parts(BATCH)
    weights = sum(parameter.numel() for parameter in found._engine.model.parameters())
    assert parts.weights == pytest.approx(2 * weights, rel=0.01)
    assert parts.optimiser == pytest.approx(12 * weights, rel=0.01)
    assert parts.activations > 0
    assert parts.total == sum(parts.model_dump().values())
    assert parts.allocated == parts.total - parts.context


@pytest.mark.parametrize(
    ("kind", "packed"), [("roberta", True), ("modernbert mean", True), ("deberta-v2", True), ("deberta", False)]
)
def test_activations_grow_with_the_batch_and_checkpointing_keeps_few_of_them(kind: str, packed: bool) -> None:
    found = forecast("full", kind)
    assert found.packed is packed
    small, large = (found.parts(BatchShape(16 * length, 16, length)) for length in (64, 256))
    assert large.activations > 3.5 * small.activations
    assert large.weights == small.weights
    assert found.parts(BatchShape(16 * 64, 16, 64)) == small
    saved = forecast("full", kind, {"gradient_checkpointing": True}).parts(BATCH)
    assert saved.activations + saved.temporary < 0.6 * (large.activations + large.temporary)


@pytest.mark.parametrize("quantization", ["nf4", "fp4", "int8"])
def test_quantised_weights_take_what_bitsandbytes_stores(quantization: str, tiny_model: Path) -> None:
    quantisation = Quantisation(quantization, torch.float32)
    loaded = load_classifier(tiny_model, load_config(tiny_model, 2), 0, torch.device("cpu"), quantisation)
    kind = QUANTIZATIONS.named(quantization)
    checked = 0
    for module in loaded.model.modules():
        if type(module).__name__ not in ("Linear4bit", "Linear8bitLt"):
            continue
        weight: Any = module.weight
        stored = weight.numel() * weight.element_size()
        if kind.bits == 4:
            state = weight.quant_state
            stored += state.absmax.numel() * state.absmax.element_size()
            stored += state.state2.absmax.numel() * state.state2.absmax.element_size()
        else:
            stored += weight.SCB.numel() * weight.SCB.element_size()
        assert kind.stored_bytes(module.out_features, module.in_features) == stored
        checked += 1
    assert checked
    whole, fewer = forecast("lora"), forecast("lora", quantization=quantization)
    saved = whole.parts(BATCH).weights - fewer.parts(BATCH).weights
    linear = 3 * (4 * 512 * 512 + 2 * 512 * 2048)
    assert saved == pytest.approx(linear * (2 - kind.bits / 8), rel=0.03)


@pytest.mark.wide
def test_every_method_is_foretold_or_says_why_not() -> None:
    why_not = {}
    for method in METHODS.classes():
        try:
            parts = forecast(method, layers_built=2, **FITTING.get(method, {})).parts(BATCH)
        except UserError as error:
            why_not[method] = str(error)
            continue
        assert parts.weights > 0
        assert parts.activations > 0, method
        assert parts.gradients + parts.temporary + parts.optimiser > 0, method
    assert why_not.keys() == {"frozen_features", "shira", "tinylora"}
    assert all("foretold" in reason or "fitted" in reason for reason in why_not.values())


def test_the_largest_batch_of_a_run() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, size=200)
    training = TrainingSpec(batch_size=8, epochs=2)
    packed = largest_batch(lengths, training, seed=3, steps=50, packed=True)
    padded = largest_batch(lengths, training, seed=3, steps=50, packed=False)
    assert packed.tokens > 8 * lengths.mean()
    assert padded.longest == lengths.max()
    assert packed.sequences == padded.sequences == 8
    assert largest_batch(lengths, training, seed=3, steps=1, packed=True).tokens <= packed.tokens


ARMS = [
    'method = "full"\nlearning_rate = 1e-4',
    'method = "lora"\nlearning_rate = 1e-3',
    'method = "frozen_features"',
    'method = "qlora"',
]


@pytest.fixture
def study(tiny_model: Path, data_files: Path, tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(study_toml(tiny_model, data_files, ARMS))
    return path


def test_plan_says_what_fits_and_what_to_change(study: Path, tiny_model: Path, tuneoff: Command) -> None:
    done = tuneoff("plan", study, "--gpu-memory", "24GB")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in ("activations", "optimiser", "full", "lora", "yes", "fitted to features", "tokens packed"):
        assert word in done.stdout
    room = tuneoff("plan", study, "--gpu-memory", "24GB", "--json")
    arms = {arm["arm"]: arm for arm in json.loads(room.stdout)["arms"]}
    assert arms["full"]["fits"] is True
    assert arms["full"]["largest_batch_size"] > 8
    assert arms["frozen_features"]["parts"] is None
    total = sum(arms["full"]["parts"].values())
    # Just too little, so that the batch has to be smaller.
    less = tuneoff("plan", study, "--gpu-memory", f"{total - 20_000}B", "--json")
    full = next(arm for arm in json.loads(less.stdout)["arms"] if arm["arm"] == "full")
    assert full["fits"] is False
    assert full["largest_batch_size"] < 8
    assert "gradients are accumulated" in full["advice"]
    # Far too little.
    for none in json.loads(tuneoff("plan", study, "--gpu-memory", "100MB", "--json").stdout)["arms"]:
        if none["parts"] is not None:
            assert none["largest_batch_size"] is None
            assert "not even one sequence fits" in none["advice"]
            assert ("choose qlora" in none["advice"]) == (none["arm"] != "qlora")


def test_a_configuration_alone_will_do(study: Path, tiny_model: Path, tmp_path: Path, tuneoff: Command) -> None:
    whole = json.loads(tuneoff("plan", study, "--gpu-memory", "24GB", "--json").stdout)["arms"][0]
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((tiny_model / "config.json").read_text())
    done = tuneoff("plan", study, "--gpu-memory", "24GB", "--json", "--set", f"model.id={bare}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["arms"][0]
    assert found["parts"]["weights"] == whole["parts"]["weights"]
    assert "8 sequences, 256 tokens" in found["batch"]  # each as long as data.max_length


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpu-memory", "much"), "--gpu-memory: write a size such as 512MB"),
        (("--gpu-memory", "24GB", "--set", "training.precision=fp32"), "training.precision"),
        (("--gpu-memory", "24GB", "--set", "training.parallel=ddp"), "training.parallel"),
        (("--gpu-memory", "24GB", "--set", "model.id=/nowhere"), "model.id"),
    ],
)
def test_what_cannot_be_foretold_is_a_line(
    study: Path, tuneoff: Command, arguments: tuple[str, ...], said: str
) -> None:
    done = tuneoff("plan", study, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_triton_there_is_a_line(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)  # as where it is not installed
    with pytest.raises(UserError, match="pip install triton"):
        outline_memory(load_study(study), 10**9)


def test_a_length_that_the_model_does_not_take_is_told(study: Path) -> None:
    spec = load_study(study, ["data.max_length=4000"])
    with pytest.raises(UserError, match="takes at most"):
        outline_memory(spec, 10**9)
