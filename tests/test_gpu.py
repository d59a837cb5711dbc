"""What only a CUDA device can show of engines: the variable-length kernel, fused layers, own kernels, every method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from engine_parts import PACKED, TOKENS, classifier, gradients
from gpu_parts import BATCHES, CPU, CUDA, EAGER, MANY, engine_for, train
from tiny_models import FITTING
from tuneoff.data.tokens import Tokens
from tuneoff.models.load import LoadedModel
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.engines.packed import PackedEngine
from tuneoff.training.kernels.choice import KERNELS
from tuneoff.training.kernels.dropout import Dropout, own_dropout

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("kind", PACKED)
def test_bf16_packed_logits_agree_with_float32_on_the_cpu(kind: str) -> None:
    engine = engine_for(kind)
    assert isinstance(engine, PackedEngine)
    loaded = classifier(kind, PACKED[kind])
    reference = make_engine(loaded.model, loaded, TrainingSpec(), CPU, torch.float32).logits(TOKENS)
    ours = engine.logits(TOKENS)
    assert np.linalg.norm(ours - reference) / np.linalg.norm(reference) < 0.03


def test_biases_alone_are_trained_in_fused_blocks() -> None:
    loaded = classifier("bert", PACKED["bert"])
    for name, parameter in loaded.model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=8), CUDA, torch.bfloat16)
    norms = {n: p.clone() for n, p in engine.model.named_parameters() if n.endswith("output.LayerNorm.bias")}
    train(engine, graphed=False)
    after = dict(engine.model.named_parameters())
    assert norms
    assert not any(torch.equal(value, after[name]) for name, value in norms.items())


def test_adapters_in_float32_beside_bf16_weights_are_trained(tiny_model: Any) -> None:
    from tuneoff.methods.lora import Lora
    from tuneoff.models.load import load_classifier, load_config

    class Wide(Lora):
        def dtypes(self, model: Any, precision: torch.dtype) -> dict[str, torch.dtype]:
            return {name: torch.float32 for name, _ in model.named_parameters() if "lora_" in name}

    arm = Wide.model_validate({"method": "lora", "learning_rate": 1e-3})
    loaded = load_classifier(tiny_model, load_config(tiny_model, 2), 0, CUDA)
    engine = make_engine(arm.adapt(loaded), loaded, TrainingSpec(batch_size=8), CUDA, torch.bfloat16, arm=arm)
    _, loss = train(engine, graphed=True, tokens=Tokens(MANY.ids % 20, MANY.offsets, MANY.labels % 2))
    assert np.isfinite(loss)


@pytest.mark.parametrize("kind", ["bert", "electra", "roberta", "llama", "mistral", "qwen3", "modernbert mean"])
@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
def test_fused_layers_equal_plain_ones(kind: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fused = engine_for(kind, method, dropout=False)
    count = fused.describe()["fused_modules"]
    assert isinstance(count, int)
    assert count > 0
    monkeypatch.setattr("tuneoff.training.kernels.choice.switched_off", KERNELS - {"attention", "dropout", "adamw"})
    plain = engine_for(kind, method, dropout=False)
    assert plain.describe()["fused_modules"] == 0
    ours, reference = fused.logits(MANY), plain.logits(MANY)
    assert np.linalg.norm(ours - reference) / np.linalg.norm(reference) < 0.02
    found, expected = (gradients(engine, [0, 2, 5, 8]) for engine in (fused, plain))
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        error = torch.linalg.vector_norm((gradient - expected[name]).float())
        assert error < 0.05 * torch.linalg.vector_norm(expected[name].float()) + 1e-4, name


def test_fused_residuals_drop_their_share_and_go_back_through_the_same_mask() -> None:
    from tuneoff.training.kernels.residual_norm import residual_norm

    dropout = Dropout(0.25, torch.tensor(5, device=CUDA), salt=1).train()
    hidden, residual, gain, shift = (
        torch.randn(*shape, dtype=torch.bfloat16).to(CUDA).requires_grad_()
        for shape in ((1, 999, 768), (1, 999, 768), (768,), (768,))
    )
    upstream = torch.randn(hidden.shape).to(hidden)
    out = residual_norm(hidden, None, residual, gain, shift, 1e-5, dropout)
    assert torch.equal(out, residual_norm(hidden, None, residual, gain, shift, 1e-5, dropout))
    d_hidden, _ = torch.autograd.grad(out, (hidden, residual), upstream)
    dropped = d_hidden == 0
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=5e-3)
    mixed = torch.where(dropped, 0.0, hidden.float() / 0.75) + residual.float()
    expected = torch.nn.functional.layer_norm(mixed, (768,), gain.float(), shift.float(), 1e-5)
    assert (out.float() - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adamw_on_the_gpu_follows_that_of_the_cpu(dtype: torch.dtype) -> None:
    from tuneoff.training.optim.adamw import make_optimiser

    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Linear(300, 170), torch.nn.Linear(170, 9)).to(dtype) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    ours, reference = models[0].to(CUDA), models[1]
    optimisers = [make_optimiser(model, TrainingSpec(weight_decay=0.1, max_grad_norm=0.5)) for model in models]
    for step in range(10):
        for model, optimiser in zip(models, optimisers, strict=True):
            torch.manual_seed(step)
            optimiser.learning_rate.fill_(1e-2)
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape).to(parameter)
            optimiser.step()
            if step == 4:
                saved = {name: value.clone() for name, value in optimisers[0].state().items()}
                optimisers[0].reset()
                optimisers[0].restore(saved)
    for ours_parameter, reference_parameter in zip(ours.parameters(), reference.parameters(), strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 1e-2
        torch.testing.assert_close(ours_parameter.cpu(), reference_parameter, rtol=tolerance, atol=tolerance)


def torch_kernels_and_ours(kind: str, method: str, **settings: Any) -> list[tuple[Engine, np.ndarray[Any, Any], float]]:
    """Engines without and with our kernels, after training with dropout off, with logits and loss."""
    found = []
    for kernels in ("torch", "auto"):
        loaded = classifier(kind, PACKED[kind])
        loaded = LoadedModel.of(loaded.model, ("classifier",) if hasattr(loaded.model, "classifier") else ("score",))
        torch.manual_seed(3)
        model = METHODS.classes()[method].model_validate({"method": method}).adapt(loaded)
        training = TrainingSpec.model_validate({"batch_size": 8, "kernels": kernels, **settings})
        engine = make_engine(model, loaded, training, CUDA, torch.bfloat16)
        for module in engine.model.modules():
            if isinstance(module, Dropout):
                module.p = 0.0
        found.append((engine, *train(engine, graphed=True)))
    return found


@pytest.mark.parametrize("kind", ["bert", "modernbert", "llama"])
@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
def test_pytorchs_own_kernels_train_like_ours(kind: str, method: str) -> None:
    (plain, expected, loss), (ours, logits, our_loss) = torch_kernels_and_ours(kind, method)
    assert plain.describe()["fused_modules"] == 0
    assert type(plain.optimiser).__name__ == "MasterAdamW"
    assert type(ours.optimiser).__name__ == "CudaAdamW"
    assert our_loss == pytest.approx(loss, rel=2e-2)
    assert np.linalg.norm(logits - expected) / np.linalg.norm(expected) < 0.1


def test_attention_dropout_pads_where_pytorch_attends() -> None:
    loaded = classifier("bert", PACKED["bert"])
    training = TrainingSpec(attention_dropout=True, kernels="torch")
    engine = make_engine(loaded.model, loaded, training, CUDA, torch.bfloat16)
    assert engine.describe()["batches"] == "padded"


def test_every_method_trains_on_a_gpu(tiny_model: Any, subtests: pytest.Subtests) -> None:
    from tuneoff.models.load import load_classifier, load_config
    from tuneoff.models.quantised import quantisation_of

    tokens = Tokens(MANY.ids % 20, MANY.offsets, MANY.labels % 2)
    for method, kind in METHODS.classes().items():
        for quantization in (None, *kind.quantizations()):
            if kind.fitted:
                continue
            with subtests.test(method, quantization=quantization):
                asked = {} if quantization is None else {"quantization": quantization}
                options = {"method": method, "learning_rate": 1e-3, **FITTING.get(method, {}), **asked}
                arm = kind.model_validate(options)
                quantisation = quantisation_of(arm.quantization, torch.bfloat16)
                loaded = load_classifier(tiny_model, load_config(tiny_model, 2), 0, CUDA, quantisation)
                model = arm.adapt(loaded)
                engine = make_engine(model, loaded, TrainingSpec(batch_size=8), CUDA, torch.bfloat16, arm=arm)
                engine.prepare(tokens, BATCHES)
                if quantization is None:
                    assert engine.describe()["step"] == ("eager" if method in EAGER else "graph"), engine.describe()
                _, loss = train(engine, graphed=False, tokens=tokens)
                assert np.isfinite(loss)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_on_the_gpu_drops_its_share_and_follows_the_seed(dtype: torch.dtype) -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Dropout(0.1))
    seed = own_dropout(model, CUDA)
    first, second = model.train()
    ones = torch.ones(1001, 999, device=CUDA, dtype=dtype, requires_grad=True)
    dropped = first(ones)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.1, abs=2e-3)
    dropped.sum().backward()
    assert ones.grad is not None
    assert torch.equal(ones.grad, dropped)
    assert (second(ones) == dropped).float().mean().item() == pytest.approx(0.82, abs=0.01)
    seed += 1
    assert (first(ones) == dropped).float().mean().item() == pytest.approx(0.82, abs=0.01)
