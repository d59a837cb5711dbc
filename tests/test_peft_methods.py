"""What single methods do beside fitting into the matrix: ranks, rates, what is saved, what shares a backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import Command, study_toml
from matrix import adapted, arm_of, source_of
from saving import CPU, TEXTS, names_of, tokenised, train_and_save
from tiny_models import FITTING, config_of
from tuneoff.core.errors import UserError
from tuneoff.methods.peft_method import added_parameters
from tuneoff.models.layers import targeted_modules
from tuneoff.models.load import load_tokenizer, outline
from tuneoff.serving.predictor import Predictor
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.training.engines.choose import make_engine


def test_methods_that_change_the_backbone_leave_it_to_others(tmp_path: Path) -> None:
    """Biases that are trained, weights that PiSSA takes apart, longer tables and layers are of one model alone."""
    source = source_of("bert", tmp_path)
    methods = ("lora", "bitfit", "pissa", "osf", "ln_tuning", "head_only", "houlsby", "prompt_tuning", "p_tuning")
    saved = {
        method: train_and_save(source, method, names_of(3), tmp_path / method, **FITTING.get(method, {}))
        for method in methods
    }
    for order in (list(saved), list(reversed(saved))):
        together = Predictor({name: saved[name].folder for name in order}, device="cpu", precision="fp32")
        for name in order:
            np.testing.assert_allclose(together.logits(TEXTS, model=name), saved[name].logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["pissa", "olora"])
def test_what_started_as_a_part_of_the_weights_is_saved_as_plain_lora(method: str, tmp_path: Path) -> None:
    saved = train_and_save(source_of("bert", tmp_path), method, names_of(2), tmp_path / "saved", r=4, lora_alpha=8)
    config = json.loads((saved.folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (8, 16, True)


@pytest.mark.parametrize("method", ["pissa", "olora"])
def test_planning_takes_no_weights_apart(method: str) -> None:
    """To decompose even random ones in the shapes of a large model would take minutes."""
    planned = arm_of(method, r=4).adapt(outline(config_of("llama")))
    assert all(parameter.is_meta for parameter in planned.parameters())


def test_adalora_takes_ranks_away_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    source = source_of("bert", tmp_path)
    arm = arm_of("adalora", init_r=6, target_r=2)
    tokens = tokenised(load_tokenizer(source), TEXTS, 3)
    steps = [(np.arange(row % 3, len(TEXTS), 2), 1e-2) for row in range(20)]

    def engine_of() -> tuple[Any, Any]:
        model, loaded = adapted(arm, source)
        engine = make_engine(model, loaded, TrainingSpec(batch_size=6), CPU, torch.float32, arm=arm)
        engine.prepare(tokens, [rows for rows, _ in steps])
        return model, engine

    for interrupted_at in (9, 17):  # while ranks are taken away, and once they are settled
        model, engine = engine_of()
        for step, _ in enumerate(engine.steps(tokens, steps), start=1):
            if step == interrupted_at:
                weights = {name: value.detach().clone() for name, value in model.named_parameters()}
                state = torch.load(_stored(engine.state(), tmp_path / "state"), weights_only=False)
        kept = sum(int((p != 0).sum()) for name, p in added_parameters(model).items() if "lora_E" in name)
        assert kept == 2 * len([name for name in added_parameters(model) if "lora_E" in name])
        again, resumed = engine_of()
        with torch.no_grad():
            for name, parameter in again.named_parameters():
                parameter.copy_(weights[name])
        resumed.restore(state)
        list(resumed.steps(tokens, steps[interrupted_at:]))
        for (name, value), (_, other) in zip(model.named_parameters(), again.named_parameters(), strict=True):
            assert torch.equal(value, other), name


def _stored(state: Any, path: Path) -> Path:
    torch.save(state, path)
    return path


def test_lora_plus_trains_b_at_a_higher_rate(tmp_path: Path) -> None:
    arm = arm_of("lora_plus", loraplus_lr_ratio=4)
    model, _ = adapted(arm, source_of("bert", tmp_path))
    factors = arm.rate_factors(model)
    assert set(factors) == {name for name in added_parameters(model) if "lora_B" in name}
    assert set(factors.values()) == {4.0}


def test_a_backbone_is_not_quantised_for_every_method() -> None:
    with pytest.raises(ValueError, match="full trains on a backbone in full precision alone"):
        arm_of("full", quantization="nf4")
    with pytest.raises(ValueError, match="dora trains on a backbone in fp4 or nf4"):
        arm_of("dora", quantization="int8")
    assert arm_of("lora", quantization="int8").quantised
    assert not arm_of("lora").quantised
    assert arm_of("qlora").quantization == "nf4"


@pytest.mark.parametrize(
    ("kind", "attention", "mlp"),
    [("bert", 8, 4), ("gpt2", 4, 4), ("llama", 8, 6), ("t5", 16, 8), ("modernbert-decoder", 8, 4), ("helium", 8, 6)],
)
def test_layers_by_their_role(kind: str, attention: int, mlp: int) -> None:
    loaded = outline(config_of(kind))
    found = {role: targeted_modules(loaded, role) for role in ("attention", "mlp", "all-linear")}
    assert len(found["mlp"]) >= mlp
    assert len(found["attention"]) >= attention
    assert set(found["attention"]).isdisjoint(found["mlp"])
    assert set(found["attention"]) | set(found["mlp"]) <= set(found["all-linear"])
    assert not any("classif" in name or "score" in name for name in found["all-linear"])


@pytest.mark.parametrize(
    ("kind", "part", "each"), [("bart", "encoder_attn", 4), ("t5", "EncDecAttention", 4), ("longformer", "global", 3)]
)
def test_the_attention_is_all_of_it(kind: str, part: str, each: int) -> None:
    """Of a decoder to the encoded text too, and that of the first token to all, where it has weights of its own."""
    found = [name for name in targeted_modules(outline(config_of(kind)), "attention") if part in name]
    assert len(found) == each * 2


def test_a_feedforward_part_without_linear_layers() -> None:
    loaded = outline(config_of("mixtral"))
    with pytest.raises(UserError, match="the feed-forward part of 'mixtral' has no linear layers"):
        targeted_modules(loaded, "mlp")
    ia3: Any = arm_of("ia3")
    assert {name.rsplit(".", 1)[-1] for name in ia3.layer_names(loaded)} == {"k_proj", "v_proj"}


def test_an_attention_without_linear_layers() -> None:
    loaded = outline(config_of("xlnet"))
    with pytest.raises(UserError, match="the attention of 'xlnet' has no linear layers"):
        targeted_modules(loaded, "attention")
    assert targeted_modules(loaded, "query-value") == targeted_modules(loaded, "mlp")


def test_a_method_is_explained(tuneoff: Command) -> None:
    said = tuneoff("methods", "vera").stdout
    assert "random projections" in said
    assert "layers * (r + outputs), and the head" in said
    assert "Kopiczko et al. 2024" in said
    assert "fp4, int8, nf4" in said
    assert list(json.loads(tuneoff("methods", "vera", "--json").stdout)) == ["vera"]
    wrong = tuneoff("methods", "vear")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean 'vera'" in wrong.stderr


def test_what_methods_train_of_a_model(tuneoff: Command, tmp_path: Path) -> None:
    source = source_of("gpt2", tmp_path)
    (source / "model.safetensors").unlink()  # its configuration says it all
    counted = json.loads(tuneoff("methods", "--model", source, "--classes", "5", "--json").stdout)
    by_name = {one["method"]: one for one in counted}
    assert set(by_name) == set(METHODS.classes())
    assert by_name["lora"]["parameters"]["adapter"] == 2 * 8 * (32 + 96)
    assert by_name["lora"]["parameters"]["head"] == 32 * 5
    assert "Conv1D" in by_name["hra"]["why_not"]
    said = tuneoff("methods", "--model", source).stdout
    assert "not hra: " in said
    missing = tuneoff("methods", "--model", tmp_path / "nowhere")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("pissa", {"r": 33}, "r = 33: the smallest of the layers has 32 inputs or outputs; take fewer"),
        ("olora", {"r": 400}, "take fewer"),
        ("hra", {"r": 40}, "take fewer"),
        ("oft", {"oft_block_size": 7}, r"oft_block_size = 7 does not divide the layers' inputs \(32\)"),
        ("c3a", {"block_size": 5}, "c3a cannot be built into this model: The block size should be a factor"),
        ("boft", {"boft_block_size": 6}, "boft cannot be built into this model: "),
        ("miss", {"r": 64}, "must be less than or equal to in_features"),
        ("fourierft", {"n_frequency": 1025}, "n_frequency"),
        ("last_layers", {"layers": 2}, "layers = 2, and the model has 2; take fewer, or the method full"),
        ("beft", {"target_modules": ["nowhere"]}, "'nowhere' is no linear layer of this model"),
    ],
)
def test_options_that_do_not_fit_a_model(method: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        arm_of(method, **options).adapt(outline(config_of("bert")))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("vblora", {"num_vectors": 1}, "topk is at most num_vectors"),
        ("waveft", {"wavelet_family": "db38"}, "made of db1 to db10"),
        ("adalora", {"target_r": 12}, "target_r is less than init_r"),
        ("lora", {"r": 10**20}, "less than or equal to 65536"),
        ("vera", {"projection_prng_key": 2**64}, "less than"),
        ("osf", {"effective_rank": 1}, "less than 1"),
        ("ia3", {"lora_alpha": 3}, "Extra inputs"),
    ],
)
def test_options_that_are_wrong_anywhere(method: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        arm_of(method, **options)


@pytest.mark.long
def test_eva_starts_from_texts_and_goes_on_where_it_was(
    tuneoff: Command, tmp_path: Path, tiny_model: Path, data_files: Path
) -> None:
    study = tmp_path / "study.toml"
    arms = ['method = "eva"\nlearning_rate = 1e-3\nr = 4\ntargets = "attention"']
    study.write_text(study_toml(tiny_model, data_files, arms, seeds=1))
    logits = []
    for name in ("whole", "again"):
        answer = tuneoff("run", "--no-report", study, "--out", tmp_path / name)
        assert answer.returncode == 0, answer.stderr
        (folder,) = (tmp_path / name / "runs").iterdir()
        logits.append(np.stack(pd.read_parquet(folder / "predictions.parquet")["logits"].to_list()))
        config = json.loads((folder / "model" / "adapter_config.json").read_text())
        assert config["init_lora_weights"] is True
        assert config["eva_config"] is None
        ranks = config["rank_pattern"].values()
        assert ranks, "some layer has another rank than the others"
        assert max(ranks) <= 8
    np.testing.assert_array_equal(logits[0], logits[1])
