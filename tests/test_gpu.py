"""What only a CUDA device can show: the variable-length kernel, whole-step graphs, dropout between replays."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertModel

from conftest import bert_config, reviews, save_tokenizer, study_toml
from stored import dictionaries
from test_attention import agreement, cu_seqlens_of, dropout_agreement, inputs
from test_disentangled import BOTH, RULES
from test_disentangled import agreement as disentangled_agreement
from test_engines import PACKED, TOKENS, classifier, gradients, make_tokens
from tiny_models import FITTING
from tuneoff.data.tokens import Tokens
from tuneoff.measure.energy import energy_meter
from tuneoff.models.load import LoadedModel
from tuneoff.records.measurements import PeakParts
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.tasks.losses import CrossEntropy
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.engines.packed import PackedEngine
from tuneoff.training.kernels.choice import KERNELS
from tuneoff.training.kernels.dropout import Dropout, own_dropout

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
MANY = make_tokens(np.random.default_rng(1).integers(1, 60, size=70).tolist(), seed=1)
BATCHES = [np.arange(start, min(start + 8, 70)) for start in range(0, 70, 8)]


def engine_for(
    kind: str = "bert",
    method: str = "full",
    checkpointing: bool = False,
    dropout: bool = True,
    loss: CrossEntropy | None = None,
) -> Engine:
    loaded = classifier(kind, PACKED[kind])
    loaded = LoadedModel.of(loaded.model, ("classifier",) if hasattr(loaded.model, "classifier") else ("score",))
    torch.manual_seed(3)
    model = METHODS.classes()[method].model_validate({"method": method}).adapt(loaded)
    training = TrainingSpec(batch_size=8, gradient_checkpointing=checkpointing)
    engine = make_engine(model, loaded, training, CUDA, torch.bfloat16, loss=loss)
    if not dropout:
        for module in engine.model.modules():
            if isinstance(module, Dropout):
                module.p = 0.0
    return engine


def train(engine: Engine, graphed: bool, tokens: Tokens = MANY) -> tuple[np.ndarray[Any, Any], float]:
    if graphed:
        engine.prepare(tokens, BATCHES)
        assert engine.describe()["step"] == "graph", engine.describe()
    torch.cuda.manual_seed(11)
    list(engine.steps(tokens, [(rows, 1e-3) for rows in BATCHES] * 2))
    loss = engine.mean_loss()
    return engine.logits(tokens), loss


@pytest.mark.parametrize("kind", PACKED)
def test_bf16_packed_logits_agree_with_float32_on_the_cpu(kind: str) -> None:
    engine = engine_for(kind)
    assert isinstance(engine, PackedEngine)
    loaded = classifier(kind, PACKED[kind])
    reference = make_engine(loaded.model, loaded, TrainingSpec(), CPU, torch.float32).logits(TOKENS)
    ours = engine.logits(TOKENS)
    assert np.linalg.norm(ours - reference) / np.linalg.norm(reference) < 0.03


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "modernbert", "deberta-v2 buckets", "llama"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_graphed_steps_equal_eager_ones(kind: str, method: str, checkpointing: bool) -> None:
    eager, eager_loss = train(engine_for(kind, method, checkpointing, dropout=False), graphed=False)
    graphed, graphed_loss = train(engine_for(kind, method, checkpointing, dropout=False), graphed=True)
    assert graphed_loss == pytest.approx(eager_loss, rel=2e-2)
    assert np.linalg.norm(graphed - eager) / np.linalg.norm(eager) < 0.1


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_graphed_steps_weigh_classes_as_eager_ones(smoothing: float) -> None:
    loss = CrossEntropy((0.3, 1.0, 5.0), smoothing)
    eager, eager_loss = train(engine_for(dropout=False, loss=loss), graphed=False)
    graphed, graphed_loss = train(engine_for(dropout=False, loss=loss), graphed=True)
    assert graphed_loss == pytest.approx(eager_loss, rel=2e-2)
    assert np.linalg.norm(graphed - eager) / np.linalg.norm(eager) < 0.1


def test_checkpointing_with_dropout_equals_none_in_a_graph() -> None:
    plain, _ = train(engine_for(checkpointing=False), graphed=True)
    saved, _ = train(engine_for(checkpointing=True), graphed=True)
    assert np.linalg.norm(plain - saved) / np.linalg.norm(plain) < 0.1


@pytest.mark.parametrize("attention_dropout", [False, True])
def test_shared_layers_of_albert_drop_different_elements_in_a_graph(attention_dropout: bool) -> None:
    options = {**PACKED["albert"], "num_attention_heads": 2, "num_hidden_layers": 4}
    options |= {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5 if attention_dropout else 0.0}
    loaded = classifier("albert", options)
    training = TrainingSpec(batch_size=8, attention_dropout=attention_dropout)
    engine = make_engine(loaded.model, loaded, training, CUDA, torch.bfloat16)
    layer = loaded.model.base_model.encoder.albert_layer_groups[0].albert_layers[0]
    dropped: list[torch.Tensor] = []  # in a graph these are where it writes them, in each replay anew
    layer.attention.output_dropout.register_forward_hook(lambda _module, _inputs, out: dropped.append(out))
    engine.prepare(MANY, BATCHES)
    assert engine.describe()["step"] == "graph"
    dropped.clear()
    losses = []
    for _ in range(3):
        list(engine.steps(MANY, [(BATCHES[0], 0.0)]))
        losses.append(engine.mean_loss())
    assert len(set(losses)) == 3
    assert not dropped, "a replay runs no Python"
    assert isinstance(engine, PackedEngine)
    engine._graphs = []
    for _ in range(2):
        list(engine.steps(MANY, [(BATCHES[0], 0.0)]))
    assert len(dropped) == 8
    masks = [out == 0 for out in dropped]
    for one, other in itertools.combinations(masks, 2):
        assert (one == other).float().mean().item() == pytest.approx(0.5, abs=0.05)


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


def test_attention_dropout_is_applied_where_asked_for() -> None:
    def losses(attention_dropout: bool) -> list[float]:
        loaded = classifier("bert", {**PACKED["bert"], "attention_probs_dropout_prob": 0.5, "hidden_dropout_prob": 0.0})
        training = TrainingSpec(batch_size=8, attention_dropout=attention_dropout)
        engine = make_engine(loaded.model, loaded, training, CUDA, torch.bfloat16)
        engine.prepare(MANY, BATCHES)
        described = engine.describe()
        assert (described["step"], described["attention_dropout"]) == ("graph", attention_dropout)
        found = []
        for _ in range(3):
            list(engine.steps(MANY, [(BATCHES[0], 0.0)]))
            found.append(engine.mean_loss())
        return found

    assert len(set(losses(attention_dropout=True))) == 3
    assert len(set(losses(attention_dropout=False))) == 1


def test_replays_draw_fresh_dropout_and_capture_leaves_no_trace() -> None:
    engine = engine_for()
    before = {name: value.clone() for name, value in engine.model.named_parameters()}
    engine.prepare(MANY, BATCHES)
    for name, value in engine.model.named_parameters():
        assert torch.equal(value, before[name]), name
    losses = []
    for _ in range(4):
        list(engine.steps(MANY, [(BATCHES[0], 0.0)]))
        losses.append(engine.mean_loss())
    assert len(set(losses)) == 4
    assert max(losses) - min(losses) < 0.5


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


@pytest.mark.parametrize("checkpointing", [False, True])
def test_dropout_by_pytorch_is_drawn_anew_in_each_replay(checkpointing: bool) -> None:
    loaded = classifier("bert", PACKED["bert"])
    training = TrainingSpec(batch_size=8, kernels="torch", gradient_checkpointing=checkpointing)
    engine = make_engine(loaded.model, loaded, training, CUDA, torch.bfloat16)
    engine.prepare(MANY, BATCHES)
    assert engine.describe()["step"] == "graph", engine.describe()
    losses = []
    for _ in range(4):
        list(engine.steps(MANY, [(BATCHES[0], 0.0)]))
        losses.append(engine.mean_loss())
    assert len(set(losses)) == 4
    dropout = next(module for module in engine.model.modules() if isinstance(module, Dropout))
    ones = torch.ones(1001, 999, device=CUDA, dtype=torch.bfloat16, requires_grad=True)
    dropped = dropout.train()(ones)
    dropped.sum().backward()
    assert ones.grad is not None
    assert torch.equal(ones.grad, dropped)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.1, abs=2e-3)


def test_attention_dropout_pads_where_pytorch_attends() -> None:
    loaded = classifier("bert", PACKED["bert"])
    training = TrainingSpec(attention_dropout=True, kernels="torch")
    engine = make_engine(loaded.model, loaded, training, CUDA, torch.bfloat16)
    assert engine.describe()["batches"] == "padded"


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("capture", [1, 2])
def test_a_capture_that_fails_leaves_no_trace(where: str, capture: int) -> None:
    """What cannot be captured, reading a number from the device, comes in the given capture."""

    def trained(fails: bool) -> tuple[Engine, np.ndarray[Any, Any], float]:
        engine = engine_for("bert")
        captures = []

        def read(value: torch.Tensor) -> None:
            if torch.cuda.is_current_stream_capturing() and fails:
                captures.append(1)
                if len(captures) == capture:
                    value.sum().item()

        def watch(_module: Any, _inputs: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            if where == "forward":
                read(hidden)
            elif hidden.requires_grad:
                hidden.register_hook(read)

        block = next(module for module in engine.model.modules() if isinstance(module, torch.nn.LayerNorm))
        block.register_forward_hook(watch)
        state = {name: value.clone() for name, value in engine.optimiser.state().items()}
        weights = {name: value.clone() for name, value in engine.model.named_parameters()}
        random_states = torch.get_rng_state(), torch.cuda.get_rng_state()
        engine.prepare(MANY, BATCHES * 12)  # of several sizes
        if fails:
            assert engine.describe()["step"] == "eager"
            assert torch.cuda.current_stream() == torch.cuda.default_stream()
            assert engine.describe()["why_no_graph"]
            assert all(parameter.grad is None for parameter in engine.model.parameters())
            assert all(torch.equal(value, state[name]) for name, value in engine.optimiser.state().items())
            assert all(torch.equal(value, weights[name]) for name, value in engine.model.named_parameters())
        assert torch.equal(torch.get_rng_state(), random_states[0])
        assert torch.equal(torch.cuda.get_rng_state(), random_states[1])
        torch.rand(3, device=CUDA)  # which a generator that believes to be captured refuses
        list(engine.steps(MANY, [(rows, 1e-3) for rows in BATCHES]))
        return engine, engine.logits(MANY), engine.mean_loss()

    _, expected, loss = trained(fails=False)
    _, logits, eager_loss = trained(fails=True)
    assert eager_loss == pytest.approx(loss, rel=2e-2)
    assert np.linalg.norm(logits - expected) / np.linalg.norm(expected) < 0.1


EAGER = {"adalora", "boft", "fourierft", "psoft", "vblora", "waveft"}
"""Methods whose layers do what a graph cannot hold; the steps of all others are graphs."""


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


@pytest.mark.parametrize(
    ("heads", "pairs", "size", "causal", "window"),
    [
        (12, 12, 64, False, None),
        (12, 12, 64, True, None),
        (12, 12, 64, False, 100),
        (12, 12, 64, False, 1),
        (4, 2, 64, True, 100),
        (6, 1, 64, False, None),
        (1, 1, 64, False, None),
        (2, 2, 32, False, None),
        (4, 2, 32, True, 70),
        (2, 2, 128, False, None),
        (4, 2, 128, True, 70),
    ],
)
def test_own_attention_agrees_with_attention_by_sequence(
    heads: int, pairs: int, size: int, causal: bool, window: int | None
) -> None:
    lengths = [1, 33, 0, 512, 64, 128, 265, 2, 1100, 0]
    errors = agreement(lengths, heads, pairs, size, causal, window, torch.bfloat16, "cuda")
    assert max(errors) < 0.01, errors


@pytest.mark.parametrize("size", [32, 64, 128])
def test_own_attention_read_at_first_tokens_only(size: int) -> None:
    errors = agreement([1, 300, 0, 512, 64], 4, 4, size, False, None, torch.bfloat16, "cuda", needed=1)
    assert max(errors) < 0.01, errors


def test_own_attention_of_short_sequences() -> None:
    assert max(agreement([1], 1, 1, 64, False, None, torch.bfloat16, "cuda")) < 0.01
    assert max(agreement([5, 0, 120, 64], 3, 3, 64, False, None, torch.bfloat16, "cuda", apart=True)) < 0.01


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("by", [BOTH, ("c2p",), ("p2c",), ()], ids=str)
def test_attention_by_distance_agrees_with_attention_by_pair(by: tuple[str, ...], rules: str, size: int) -> None:
    lengths = [1, 33, 0, 512, 64, 128, 265, 2, 700, 0]
    errors = disentangled_agreement(by, rules, lengths, 3, size, torch.bfloat16, "cuda")
    assert max(errors) < 0.02, errors


@pytest.mark.parametrize(("needed", "p"), [(1, 0.0), (70, 0.0), (None, 0.1)])
def test_attention_by_distance_with_dropout_or_read_at_few_tokens(needed: int | None, p: float) -> None:
    lengths = [1, 300, 0, 512, 64]
    errors = disentangled_agreement(BOTH, "log", lengths, 4, 64, torch.bfloat16, "cuda", needed, p)
    assert max(errors) < 0.03, errors


@pytest.mark.parametrize("size", [32, 64, 128])
def test_own_attention_goes_back_through_the_mask_of_its_dropout(size: int) -> None:
    p = 0.1
    found = dropout_agreement([130, 1, 0, 300, 64], 4, size, p, torch.bfloat16, "cuda")
    assert found["share"] == pytest.approx(p, abs=2e-3)
    assert found["repeated"]
    unrelated = p * p + (1 - p) * (1 - p)
    assert found["agree"] == pytest.approx([unrelated] * 2, abs=0.005)
    assert found["neighbours"] == pytest.approx([unrelated] * 7, abs=0.01)
    assert max(found["errors"]) < 0.01


def test_own_attention_in_a_graph_follows_lengths_and_seed() -> None:
    from tuneoff.training.kernels.attention import attention

    parts = inputs([600], 4, 4, 64, torch.bfloat16, "cuda")
    cu_seqlens, seed = cu_seqlens_of([300, 200, 100], "cuda"), torch.tensor(5, device=CUDA)
    upstream = torch.randn(600, 4, 64).to(CUDA, torch.bfloat16)

    def step() -> list[torch.Tensor]:
        out = attention(*parts, cu_seqlens, 300, None, False, None, 0.1, seed, 3)
        return [out, *torch.autograd.grad(out, parts, upstream)]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        captured = step()
    for lengths, drawn in (([300, 200, 100], 5), ([300, 200, 100], 6), ([300, 0, 300], 6), ([250, 250, 100], 6)):
        cu_seqlens.copy_(cu_seqlens_of(lengths))
        seed.fill_(drawn)
        graph.replay()
        torch.cuda.synchronize()
        for graphed, eager in zip(captured, step(), strict=True):
            assert torch.equal(graphed, eager)


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
