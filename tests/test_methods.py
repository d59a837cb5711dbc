"""What each method trains, on real models: counts, gradients, the same head for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import bert_config
from tiny_models import FITTING
from tuneoff.core.errors import UserError
from tuneoff.data.tokens import Tokens
from tuneoff.models.count import parameter_counts
from tuneoff.models.load import LoadedModel, load_classifier, load_config, outline
from tuneoff.models.quantised import quantisation_of
from tuneoff.spec import TrainingSpec, load_study
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.training.engines.choose import make_engine

CPU = torch.device("cpu")
TRAINED = [name for name, method in METHODS.classes().items() if not method.fitted]
"""Methods whose head is that of the loader, and that train it in gradient steps."""
KINDS_OF_METHODS = ("full", "head_only", "lora", "qlora", "ia3", "bitfit", "vera", "ln_tuning")
"""One of each way to change a model; `test_matrix.py` has all."""
ORIGINAL_COUNTS = {"full": 124_647_170, "lora": 1_034_498, "qlora": 739_586, "ia3": 675_074}


def _load(folder: Path, arm: ArmSpec, seed: int = 0) -> tuple[nn.Module, LoadedModel]:
    config = load_config(folder, num_labels=2)
    loaded = load_classifier(folder, config, seed, CPU, quantisation_of(arm.quantization, torch.float32))
    return arm.adapt(loaded), loaded


def _arm(method: str, **options: Any) -> ArmSpec:
    return METHODS.classes()[method].model_validate({"method": method, **FITTING.get(method, {}), **options})


def _tokens() -> Tokens:
    ids = np.random.default_rng(0).integers(4, 20, size=48).astype(np.int32)
    return Tokens(ids, np.arange(0, 49, 12), np.array([0, 1, 0, 1]))


def test_the_original_parameter_counts() -> None:
    from transformers import RobertaConfig

    config = RobertaConfig(
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=2
    )
    counted = {}
    for arm in load_study("imdb-roberta").arms:
        loaded = outline(config)
        assert {parameter.device.type for parameter in loaded.model.parameters()} == {"meta"}
        counts = parameter_counts(arm.adapt(loaded), loaded)
        counted[arm.method] = counts["trainable"]
        assert counts["head"] == 592_130
        assert counts["backbone"] + counts["head"] == 124_647_170
        assert counts["total"] == counts["backbone"] + counts["head"] + counts["adapter"]
    assert counted == ORIGINAL_COUNTS


@pytest.mark.parametrize("method", METHODS.classes())
def test_counts_on_real_weights_equal_those_of_the_outline(method: str, tiny_model: Path) -> None:
    arm = _arm(method)
    real = parameter_counts(*_load(tiny_model, arm))
    loaded = outline(load_config(tiny_model, 2), tiny_model)
    assert parameter_counts(arm.adapt(loaded), loaded) == real


def test_the_head_is_the_same_for_every_method_and_changes_with_the_seed(tiny_model: Path) -> None:
    def head(method: str, seed: int) -> list[torch.Tensor]:
        model, _loaded = _load(tiny_model, _arm(method), seed)
        return [
            parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if "classifier" in name and "original_module" not in name
        ]

    expected = head("full", seed=3)
    for method in TRAINED:
        for own, reference in zip(head(method, seed=3), expected, strict=True):
            assert torch.equal(own, reference), method
    assert not torch.equal(head("full", seed=4)[0], expected[0])


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", KINDS_OF_METHODS)
def test_everything_trainable_gets_a_gradient_through_the_engine_also_after_an_evaluation(
    method: str, checkpointing: bool, tiny_model: Path
) -> None:
    arm = _arm(method)
    model, loaded = _load(tiny_model, arm)
    training = TrainingSpec(batch_size=4, gradient_checkpointing=checkpointing)
    engine = make_engine(model, loaded, training, CPU, torch.float32, arm=arm)
    tokens = _tokens()
    engine.logits(tokens)
    model.train()
    engine._accumulate(tokens, np.arange(4), 4)
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]
    # Where one factor starts at zero the other has no gradient; keys' biases cancel inside the softmax.
    at_first = ("lora_A", "vera_lambda_d", "key.bias")
    assert [name for name in without if not any(known in name for known in at_first)] == []


def test_quantisation_spares_the_head_and_counts_whole_weights(tiny_model: Path) -> None:
    _model, loaded = _load(tiny_model, _arm("qlora"))
    kinds = {name: type(module).__name__ for name, module in loaded.model.named_modules()}
    assert sum(kind == "Linear4bit" for kind in kinds.values()) > 0
    assert {kind for name, kind in kinds.items() if "classifier" in name} & {"Linear4bit"} == set()
    assert loaded.parameters == sum(p.numel() for p in _load(tiny_model, _arm("full"))[0].parameters())


def test_a_pooler_that_the_checkpoint_lacks_belongs_to_the_head(tmp_path: Path) -> None:
    from transformers import BertModel

    from conftest import save_tokenizer

    BertModel(bert_config(save_tokenizer(tmp_path)), add_pooling_layer=False).save_pretrained(tmp_path)
    for method in TRAINED:
        model, loaded = _load(tmp_path, _arm(method))
        assert set(loaded.head_modules) == {"bert.pooler", "classifier"}
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert any("pooler" in name for name in trained), method
        assert parameter_counts(model, loaded)["head"] == 64 * 64 + 64 + 64 * 2 + 2


@pytest.mark.parametrize("method", KINDS_OF_METHODS)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_whole_head_is_drawn_anew_whatever_the_checkpoint_holds_of_it(
    method: str, classes: int, tmp_path: Path
) -> None:
    from transformers import ElectraConfig, ElectraForSequenceClassification

    config = ElectraConfig(
        vocab_size=40, hidden_size=32, embedding_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=48, num_labels=classes,
    )  # fmt: skip
    torch.manual_seed(5)
    brought = ElectraForSequenceClassification(config)
    brought.save_pretrained(tmp_path)
    model, loaded = _load(tmp_path, _arm(method))
    assert loaded.head_modules == ("classifier",)
    assert parameter_counts(model, loaded)["head"] == 32 * 32 + 32 + 32 * 2 + 2
    drawn = {name: weight for name, weight in model.named_parameters() if "classifier" in name}
    (dense,) = (drawn[name] for name in drawn if name.endswith("dense.weight") and "original_module" not in name)
    assert dense.requires_grad
    assert not torch.equal(dense, brought.classifier.dense.weight)
    backbone = next(weight for name, weight in model.named_parameters() if "word_embeddings" in name)
    assert torch.equal(backbone, brought.electra.embeddings.word_embeddings.weight)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_named_layers_of_an_architecture_that_is_not_known(method: str) -> None:
    from transformers import CTRLConfig

    config = CTRLConfig(n_embd=32, dff=48, n_layer=2, n_head=2, vocab_size=40, num_labels=2, pad_token_id=0)
    loaded = outline(config)
    with pytest.raises(UserError, match=r"'ctrl' are not known here; give the arm's target_modules"):
        _arm(method).adapt(loaded)
    model = _arm(method, target_modules=["ffn.0"]).adapt(outline(config))
    assert parameter_counts(model, loaded)["adapter"] > 0


@pytest.mark.parametrize(
    "kind", ["distilbert", "modernbert", "deberta-v2", "mpnet", "albert", "llama", "qwen2", "gpt2"]
)
@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_default_targets_fit_each_architecture(kind: str, method: str) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(kind, num_labels=2)
    config.pad_token_id = 0
    loaded = outline(config)
    counts = parameter_counts(_arm(method).adapt(loaded), loaded)
    assert 0 < counts["adapter"] < counts["backbone"] / 20


def test_unknown_layers_are_named(tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"'qurey' is no linear layer.*dense, key, query, value"):
        _load(tiny_model, _arm("lora", target_modules=["qurey"]))


@pytest.mark.parametrize("method", [name for name in METHODS.classes() if name not in TRAINED])
@pytest.mark.parametrize("pooler", [False, True])
def test_a_fitted_method_trains_its_own_head_alone(method: str, pooler: bool, tmp_path: Path) -> None:
    from transformers import BertModel

    from conftest import save_tokenizer

    bert = BertModel(bert_config(save_tokenizer(tmp_path)), add_pooling_layer=pooler)
    bert.save_pretrained(tmp_path)
    model, loaded = _load(tmp_path, _arm(method))
    counts = parameter_counts(model, loaded)
    assert counts["backbone"] == sum(parameter.numel() for parameter in bert.parameters())
    assert counts["trainable"] == counts["head"] == counts["total"] - counts["backbone"] > 0
    assert counts["adapter"] == 0
