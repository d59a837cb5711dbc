"""How many parameters methods add: by their formulae, and as papers and peft give them."""

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
ALL_LINEAR: dict[str, Any] = {"targets": "all-linear"}
PUBLISHED = [
    # Hu et al. 2021 (LoRA), table 2, in millions: without the head, as everywhere here; their sizes are in table 9
    (BASE, "lora", {}, 0.3, 1),
    (LARGE, "lora", {}, 0.8, 1),
    (LARGE, "houlsby", {"bottleneck_size": 8}, 0.8, 1),
    (LARGE, "pfeiffer", {"bottleneck_size": 16}, 0.8, 1),
    # Kopiczko et al. 2024 (VeRA), table 2
    (BASE, "vera", {"r": 1024}, 0.043, 3),
    (LARGE, "vera", {"r": 256}, 0.061, 3),
    # Li et al. 2024 (VB-LoRA), table 1
    (BASE, "vera", {"r": 1024, **ALL_LINEAR}, 0.157, 3),
    (LARGE, "vera", {"r": 256, **ALL_LINEAR}, 0.258, 3),
    # Gao et al. 2024 (FourierFT), table 2
    (BASE, "fourierft", {}, 0.024, 3),
    (LARGE, "fourierft", {}, 0.048, 3),
    # Chen et al. 2024 (C3A), table 2: blocks of d, and of d / 6
    (BASE, "c3a", {"block_size": 768}, 0.018, 3),
    (BASE, "c3a", {"block_size": 128}, 0.111, 3),
    (LARGE, "c3a", {"block_size": 1024}, 0.049, 3),
    (LARGE, "c3a", {"block_size": 128}, 0.393, 3),
    (BASE, "bitfit", {}, 0.102, 3),
    (LARGE, "bitfit", {}, 0.271, 3),
    (BASE, "lora", {}, 0.295, 3),
    (LARGE, "lora", {}, 0.786, 3),
    # Bini et al. 2025 (DeLoRA), table 4
    (BASE, "delora", {}, 0.3, 1),
    # Zhang et al. 2023 (AdaLoRA), table 1, of DeBERTaV3-base, whose layers have these sizes
    (BASE, "lora", {"r": 8, **ALL_LINEAR}, 1.33, 2),
    (BASE, "houlsby", {"bottleneck_size": 16}, 0.61, 2),
    (BASE, "pfeiffer", {"bottleneck_size": 32}, 0.60, 2),
    # Yuan et al. 2024 (HRA), table 2, and Wu et al. 2025 (PSOFT), table 2, of the same model
    (BASE, "hra", {"r": 8, **ALL_LINEAR}, 0.66, 2),
    (BASE, "dora", {"r": 8, **ALL_LINEAR}, 1.41, 2),
    # Li et al. 2025 (Uni-LoRA), the length that the authors' scripts give
    (LARGE, "unilora", {"theta_d_length": 23040}, 0.02304, 5),
]
LLAMA: dict[str, Any] = {
    "vocab_size": 128256, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
    "num_attention_heads": 24, "num_key_value_heads": 8, "pad_token_id": 0,
}  # fmt: skip
OF_PEFT: list[tuple[str, dict[str, Any], int]] = [
    # `num_trainable_params` of Llama-3.2-3B in results of peft's method_comparison; some take minutes to build
    ("dora", {"r": 32}, 9_289_728),
    ("lora_fa", {"r": 32}, 3_670_016),
    ("vera", {"r": 256}, 129_024),
    ("pvera", {"r": 256}, 143_360),
    ("vblora", {"vector_length": 256}, 1_212_416),
    ("randlora", {"r": 32}, 9_289_728),
    ("c3a", {"block_size": 64}, 5_505_024),
    ("oft", {"oft_block_size": 96}, 8_171_520),
    ("boft", {"boft_block_size": 4}, 802_816),
    ("loha", {"r": 32}, 18_350_080),
    ("lokr", {"r": 32}, 279_552),
    ("miss", {"r": 64}, 7_340_032),
    ("road", {"variant": "road_2"}, 229_376),
    ("delora", {"r": 32}, 9_175_096),
    ("gralora", {"r": 32}, 9_175_040),
    ("hira", {"r": 32}, 9_175_040),
    ("ia3", {}, 286_720),
    ("adalora", {"init_r": 64, "target_r": 32}, 18_353_664),
    ("tinylora", {"r": 2, "u": 64}, 3_584),
    ("unilora", {"theta_d_length": 256}, 256),
    ("ln_tuning", {}, 175_104),
    ("prompt_tuning", {"num_virtual_tokens": 200}, 614_400),
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


@pytest.mark.parametrize(("method", "options", "parameters"), OF_PEFT)
def test_counts_of_peft_itself(method: str, options: dict[str, Any], parameters: int) -> None:
    from transformers import LlamaConfig

    loaded = outline(LlamaConfig(num_labels=2, **LLAMA))
    counts = parameter_counts(_arm(method, **options).adapt(loaded), loaded)
    assert counts["trainable"] - counts["head"] == parameters


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
