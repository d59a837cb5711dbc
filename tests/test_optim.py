"""The optimiser's rules: which weights decay, how gradients are clipped, whose steps are counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from engine_parts import PACKED
from tuneoff.models.load import LoadedModel
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.training.optim.adamw import make_optimiser

ONE_TYPE = {**PACKED["roberta"], "type_vocab_size": 1}


def adapted(kind: str, options: dict[str, Any], num_labels: int = 3, **arm: Any) -> nn.Module:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, num_labels=num_labels, **options)
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    head = "classifier" if hasattr(model, "classifier") else "score"
    return METHODS.classes()[arm["method"]].model_validate(arm).adapt(LoadedModel.of(model, (head,)))


def decayed(model: nn.Module) -> set[str]:
    """Names of the weights that a step without any gradient but zeros makes smaller."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for parameter in trained.values():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    optimiser = make_optimiser(model, TrainingSpec(weight_decay=0.5))
    optimiser.learning_rate.fill_(0.1)
    optimiser.step()
    values = {name: sorted(set(parameter.detach().flatten().tolist())) for name, parameter in trained.items()}
    assert all(value in ([1.0], [pytest.approx(0.95)]) for value in values.values()), values
    return {name for name, value in values.items() if value != [1.0]}


def trained(model: nn.Module, *words: str) -> set[str]:
    """Names of trained weights that hold one of the words."""
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and any(word in name for word in words)
    }


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_matrices_of_lora_decay_whatever_their_rank(kind: str, rank: int) -> None:
    model = adapted(kind, PACKED[kind], method="lora", r=rank)
    found = decayed(model)
    assert trained(model, "lora_A", "lora_B") < found
    assert found == trained(model, "lora_") | trained(model, "classifier.modules_to_save.default.weight", "score")


def test_scales_of_ia3_and_biases_do_not_decay() -> None:
    model = adapted("bert", PACKED["bert"], method="ia3")
    assert trained(model, "ia3_l")
    assert decayed(model) == trained(model, "classifier.modules_to_save.default.weight")


@pytest.mark.parametrize(("kind", "options"), [("roberta", ONE_TYPE), ("modernbert", PACKED["modernbert"])])
@pytest.mark.parametrize("num_labels", [1, 3])
def test_of_a_whole_model_all_but_biases_and_norms_decay(kind: str, options: dict[str, Any], num_labels: int) -> None:
    model = adapted(kind, options, num_labels, method="full")
    norms = {id(p) for m in model.modules() if isinstance(m, nn.LayerNorm | nn.RMSNorm) for p in m.parameters()}
    everything = {name for name, p in model.named_parameters() if id(p) not in norms and not name.endswith("bias")}
    assert norms
    assert decayed(model) == everything
    assert any(1 in p.shape for name, p in model.named_parameters() if name in everything) == (
        kind == "roberta" or num_labels == 1
    )


@pytest.mark.parametrize("max_grad_norm", [1.0, 7.0])
def test_gradients_in_bfloat16_are_clipped_by_their_norm_in_float32(max_grad_norm: float) -> None:
    torch.manual_seed(1)
    gradients = [torch.randn(size, 3).to(torch.bfloat16) for size in (7, 300, 41, 1)]
    moments = []
    for dtype in (torch.bfloat16, torch.float32):
        model = nn.ParameterList(nn.Parameter(torch.ones(g.shape, dtype=dtype)) for g in gradients)
        optimiser = make_optimiser(model, TrainingSpec(max_grad_norm=max_grad_norm))
        for parameter, gradient in zip(model, gradients, strict=True):
            parameter.grad = gradient.to(dtype)
        optimiser.learning_rate.fill_(1e-3)
        optimiser.step()
        moments.append(torch.cat([values["exp_avg"].flatten() for values in optimiser.state()[0]]))
    torch.testing.assert_close(moments[0], moments[1], rtol=1e-6, atol=0.0)
    norm = torch.cat([g.flatten() for g in gradients]).double().norm()
    assert float(moments[0].norm() / 0.1) == pytest.approx(min(max_grad_norm, float(norm)), rel=1e-5)


def test_a_weight_without_a_gradient_stays_and_takes_no_step() -> None:
    """Its first step is as large as any weight's first one, which is the learning rate whatever the gradient."""
    model = nn.ParameterList([nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4))])
    optimiser = make_optimiser(model, TrainingSpec())
    optimiser.learning_rate.fill_(1e-2)
    for step in range(6):
        for parameter in list(model)[: 2 if step == 5 else 1]:
            parameter.grad = torch.full((4,), 0.1)
        optimiser.step()
        if step == 4:
            assert float(model[1].abs().max()) == 0.0
    torch.testing.assert_close(model[1].detach(), torch.full((4,), -1e-2), rtol=1e-4, atol=0.0)
