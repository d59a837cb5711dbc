"""How many parameters methods add: by their formulae, and as papers give them for RoBERTa."""

from __future__ import annotations

import math
from typing import Any

import pytest
from peft.tuners.lokr.layer import factorization
from torch import nn

from tiny_models import FITTING, config_of
from tuneoff.methods.peft_method import PeftMethod, added_parameters
from tuneoff.models.count import parameter_counts
from tuneoff.models.load import LoadedModel, outline
from tuneoff.spec.arms import METHODS, ArmSpec

WITH_FORMULA = [
    name
    for name, method in METHODS.classes().items()
    if issubclass(method, PeftMethod) and (method.per_layer or method.once)
]
BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
LARGE: dict[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
}  # fmt: skip
PUBLISHED = [
    # Hu et al. 2021 (LoRA), table 2, in millions: without the head
    (BASE, "lora", {}, 0.3, 1),
    (LARGE, "lora", {}, 0.8, 1),
    (BASE, "bitfit", {}, 0.1, 1),
    # Kopiczko et al. 2024 (VeRA), table 2
    (BASE, "vera", {"r": 1024}, 0.043, 3),
    (LARGE, "vera", {"r": 256}, 0.061, 3),
    # Gao et al. 2024 (FourierFT), table 2
    (BASE, "fourierft", {}, 0.024, 3),
    (LARGE, "fourierft", {}, 0.048, 3),
    # Chen et al. 2024 (C3A), table 2: blocks of d, and of d / 6
    (BASE, "c3a", {"block_size": 768}, 0.018, 3),
    (BASE, "c3a", {"block_size": 128}, 0.111, 3),
    (LARGE, "c3a", {"block_size": 1024}, 0.049, 3),
    # Bini et al. 2025 (DeLoRA), table of GLUE
    (BASE, "delora", {}, 0.3, 1),
    # Li et al. 2025 (Uni-LoRA), table of GLUE
    (LARGE, "unilora", {"theta_d_length": 23040}, 0.023, 3),
]


def _arm(method: str, **options: Any) -> ArmSpec:
    return METHODS.classes()[method].model_validate({"method": method, **options})


def _roberta(size: dict[str, Any]) -> LoadedModel:
    from transformers import RobertaConfig

    return outline(
        RobertaConfig(
            vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=2, **size
        )
    )


@pytest.mark.parametrize(("size", "method", "options", "millions", "digits"), PUBLISHED)
def test_published_counts(
    size: dict[str, Any], method: str, options: dict[str, Any], millions: float, digits: int
) -> None:
    loaded = _roberta(size)
    counts = parameter_counts(_arm(method, **options).adapt(loaded), loaded)
    assert round((counts["trainable"] - counts["head"]) / 1e6, digits) == millions


def _evaluated(formula: str, arm: Any, **known: Any) -> int:
    names = {name: getattr(arm, name) for name in type(arm).model_fields} | known
    return int(eval(formula, {"min": min, "max": max, "int": int, "ceil": math.ceil, **names}))


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("method", WITH_FORMULA)
def test_what_a_method_trains_is_what_its_formula_says(kind: str, method: str) -> None:
    loaded = outline(config_of(kind))
    chosen = {"vblora": {"vector_length": 16}, "c3a": {"block_size": 16}, "oft": {"oft_block_size": 16}}
    all_of_them = {"targets": "all-linear"} if "targets" in METHODS.classes()[method].model_fields else {}
    arm: Any = _arm(method, **FITTING.get(method, {}), **chosen.get(method, {}), **all_of_them)
    names = arm.layer_names(loaded)
    expected = _evaluated(arm.once, arm) if arm.once else 0
    layers = loaded.architecture.layers
    assert layers is not None
    for name in names:
        layer = loaded.model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        in_small, in_large = factorization(layer.in_features)
        out_small, out_large = factorization(layer.out_features)
        expected += _evaluated(
            arm.per_layer or "0",
            arm,
            inputs=layer.in_features,
            outputs=layer.out_features,
            in_small=in_small,
            in_large=in_large,
            out_small=out_small,
            out_large=out_large,
            bias=layer.bias is not None,
            feedforward=name.endswith(("down_proj", "output.dense")),
        )
    trained = {id(p): p.numel() for p in added_parameters(arm.adapt(loaded)).values() if p.requires_grad}
    assert sum(trained.values()) == expected
