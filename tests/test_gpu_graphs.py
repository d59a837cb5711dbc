"""Whole-step graphs on a CUDA device: they equal eager steps, draw dropout anew, and leave no trace where they fail."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from engine_parts import PACKED, classifier
from gpu_parts import BATCHES, CUDA, MANY, engine_for, train
from tuneoff.spec import TrainingSpec
from tuneoff.tasks.losses import CrossEntropy
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.engines.packed import PackedEngine
from tuneoff.training.kernels.dropout import Dropout

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


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
