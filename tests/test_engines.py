"""Packed and padded batches give the same answers, and both handle the odd batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine_parts import CPU, LLAMA_LIKE, PACKED, PADDED, TOKENS, classifier, gradients
from tuneoff.data.tokens import Tokens
from tuneoff.models.load import load_classifier, load_config
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.tasks.losses import BinaryCrossEntropy, CrossEntropy, Loss, SquaredError
from tuneoff.training.engines import packed as packed_engine
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.engines.packed import PackedEngine
from tuneoff.training.engines.padded import PaddedEngine, padded_inputs
from tuneoff.training.optim.adamw import make_optimiser


@pytest.mark.parametrize("kind", PACKED)
def test_packed_equals_padded(kind: str) -> None:
    training = TrainingSpec(batch_size=4)
    options = {
        **PACKED[kind],
        **({"attention_probs_dropout_prob": 0.0} if kind != "distilbert" else {"attention_dropout": 0.0}),
    }
    engines = []
    for make in (PackedEngine, PaddedEngine):
        loaded = classifier(kind, options)
        engines.append(make(loaded.model, loaded, training, CPU, training.batch_size))
    assert (
        type(
            make_engine(
                *(lambda loaded: (loaded.model, loaded))(classifier(kind, options)), training, CPU, torch.float32
            )
        )
        is PackedEngine
    )
    packed, padded = (engine.logits(TOKENS) for engine in engines)
    np.testing.assert_allclose(packed, padded, rtol=1e-5, atol=1e-6)
    ours, reference = (gradients(engine, [0, 2, 5, 8]) for engine in engines)
    assert ours.keys() == reference.keys()
    for name, gradient in ours.items():
        scale = reference[name].abs().max()
        torch.testing.assert_close(gradient, reference[name], rtol=1e-4, atol=float(1e-5 * scale + 1e-8))


@pytest.mark.parametrize("make", [PackedEngine, PaddedEngine])
@pytest.mark.parametrize("micro_batch", [4, 3])
@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 7.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_and_smoothed_losses_are_those_of_torch(
    make: type[Engine], micro_batch: int, weights: tuple[float, ...] | None, smoothing: float
) -> None:
    options = {**PACKED["bert"], "attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    rows = [0, 2, 5, 8]
    loaded = classifier("bert", options)
    training, loss = TrainingSpec(batch_size=4), CrossEntropy(weights, smoothing)
    engine = make(loaded.model, loaded, training, CPU, micro_batch, loss=loss)
    found = gradients(engine, rows)
    engine._weight = loss.total(TOKENS.labels[rows])

    plain = classifier("bert", options).model
    inputs = padded_inputs(TOKENS, np.array(rows), loaded.architecture)
    labels = torch.from_numpy(TOKENS.labels[rows])
    weight = None if weights is None else torch.tensor(weights)
    logits = plain(**inputs).logits
    torch.nn.functional.cross_entropy(logits, labels, weight, label_smoothing=smoothing).backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-5)
    reported = torch.nn.functional.cross_entropy(logits.detach(), labels, weight)
    assert engine.mean_loss() == pytest.approx(float(reported), rel=1e-5)


LABELS = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 1]], dtype=np.float32)
STARS = np.array([[-1.3], [0.2], [1.7]], dtype=np.float32)


@pytest.mark.parametrize("make", [PackedEngine, PaddedEngine])
@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize(
    ("loss", "problem"),
    [(BinaryCrossEntropy(LABELS), "multi_label_classification"), (SquaredError(STARS), "regression")],
    ids=["labels", "numbers"],
)
def test_losses_of_labels_and_numbers_are_those_of_transformers(
    make: type[Engine], kind: str, loss: Loss, problem: str
) -> None:
    options = {**PACKED[kind], "attention_dropout": 0.0}
    if kind == "bert":
        options |= {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    rows, table = [0, 2, 5, 8], loss.table
    assert table is not None
    loaded = classifier(kind, options, table.shape[1])
    engine = make(loaded.model, loaded, TrainingSpec(batch_size=4), CPU, 3, loss=loss)
    found = gradients(engine, rows)
    engine._weight = loss.total(TOKENS.labels[rows])

    plain = classifier(kind, options, table.shape[1]).model
    plain.config.problem_type = problem
    reference = torch.zeros(())
    logits = []
    for row in rows:  # each by itself, so that no padding can be wrong
        inputs = padded_inputs(TOKENS, np.array([row]), loaded.architecture)
        answer = plain(**inputs, labels=torch.from_numpy(table[TOKENS.labels[[row]]]))
        logits.append(answer.logits.detach().numpy()[0])
        reference = reference + answer.loss / len(rows)
    reference.backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)
    assert engine.mean_loss() == pytest.approx(float(reference.detach()), rel=1e-5)
    assert loss.mean_loss(np.stack(logits), TOKENS.labels[rows]) == pytest.approx(float(reference.detach()), rel=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_second_texts_are_told_apart_where_the_model_can(kind: str) -> None:
    seconds = np.maximum(TOKENS.lengths // 2, 1).astype(np.int32)
    pairs = Tokens(TOKENS.ids, TOKENS.offsets, TOKENS.labels, seconds)
    options = {**PACKED[kind], **({"type_vocab_size": 1} if kind == "roberta" else {})}
    logits = []
    for make in (PackedEngine, PaddedEngine):
        loaded = classifier(kind, options)
        engine = make(loaded.model, loaded, TrainingSpec(batch_size=4), CPU, 4)
        if make is PaddedEngine or kind == "bert":
            logits.append(engine.logits(pairs))
            assert (np.abs(logits[-1] - engine.logits(TOKENS)).max() > 1e-4) == (kind == "bert")
    start, end = TOKENS.offsets[2:4]
    types = (torch.arange(end - start) >= seconds[2]).long()[None] if kind == "bert" else None
    inputs = {"input_ids": torch.from_numpy(TOKENS.ids[start:end].astype(np.int64))[None]}
    expected = loaded.model.eval()(**inputs, **({} if types is None else {"token_type_ids": types})).logits
    for found in logits:
        np.testing.assert_allclose(found[2], expected.detach().numpy()[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", PADDED)
def test_own_attention_takes_padded_batches(kind: str) -> None:
    loaded = classifier(kind, PADDED[kind])
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=4), CPU, torch.float32)
    assert engine.describe()["batches"] == "padded"
    assert engine.bucketed
    list(engine.steps(TOKENS, [(np.array([0, 2, 4]), 1e-3), (np.array([1]), 1e-3)]))
    assert np.isfinite(engine.mean_loss())
    one_by_one = np.concatenate([engine.logits(_row(row)) for row in range(len(TOKENS))])
    np.testing.assert_allclose(engine.logits(TOKENS), one_by_one, rtol=1e-4, atol=1e-5)


def _row(row: int) -> Tokens:
    start, end = TOKENS.offsets[row : row + 2]
    return Tokens(TOKENS.ids[start:end], np.array([0, end - start]), TOKENS.labels[row : row + 1])


@pytest.mark.parametrize("rows", [[0], [7], [0, 7], [2], list(range(10))], ids=str)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_odd_batches_train(rows: list[int], precision: torch.dtype) -> None:
    loaded = classifier("roberta", PACKED["roberta"])
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=4), CPU, precision)
    before = engine.logits(TOKENS)
    list(engine.steps(TOKENS, [(np.array(rows), 1e-2)] * 3))
    assert np.isfinite(engine.mean_loss())
    after = engine.logits(TOKENS)
    assert after.dtype == np.float32
    assert np.isfinite(after).all()
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(("windows", "batches"), [(True, "padded"), (False, "packed")])
def test_windows_that_only_a_mask_tells_of_pad(windows: bool, batches: str) -> None:
    experts = {"num_experts": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}
    options = {"use_sliding_window": windows, "sliding_window": 4, "max_window_layers": 2}
    loaded = classifier("qwen2_moe", {**LLAMA_LIKE, **experts, **options})
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=4), CPU, torch.float32)
    assert engine.describe()["batches"] == batches


@pytest.mark.parametrize(
    ("head_size", "window", "batches"), [(16, 6, "padded"), (32, 6, "packed"), (16, None, "packed")]
)
def test_windows_that_pytorch_does_not_know_pad(
    monkeypatch: pytest.MonkeyPatch, head_size: int, window: int | None, batches: str
) -> None:
    monkeypatch.setattr(packed_engine, "VARLEN_KNOWS_WINDOWS", False)
    loaded = classifier("mistral", {**LLAMA_LIKE, "head_dim": head_size, "sliding_window": window})
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=4), torch.device("meta"), torch.bfloat16)
    assert engine.describe()["batches"] == batches


def test_attention_dropout_pads_on_a_cpu() -> None:
    loaded = classifier("bert", PACKED["bert"])
    engine = make_engine(loaded.model, loaded, TrainingSpec(attention_dropout=True), CPU, torch.float32)
    assert engine.describe()["batches"] == "padded"


def test_a_step_learns() -> None:
    loaded = classifier("bert", PACKED["bert"])
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=10), CPU, torch.float32)
    losses = []
    for _ in range(5):
        list(engine.steps(TOKENS, [(np.arange(10), 1e-3)] * 10))
        losses.append(engine.mean_loss())
    assert losses[-1] < 0.5 * losses[0]


def test_bf16_weights_keep_small_updates_in_float32() -> None:
    model = nn.Linear(8, 8, bias=False).to(torch.bfloat16)
    with torch.no_grad():
        model.weight.fill_(1.0)
    optimiser = make_optimiser(model, TrainingSpec(weight_decay=0.0))
    optimiser.learning_rate.fill_(1e-4)
    for _ in range(100):
        model.weight.grad = torch.ones_like(model.weight)
        optimiser.step()
    # A hundred updates of 1e-4 are each lost in bfloat16, whose neighbours of 1 are 0.004 away.
    assert model.weight.detach().float().mean().item() == pytest.approx(0.99, abs=0.003)


def test_masters_follow_plain_adamw() -> None:
    torch.manual_seed(0)
    ours, reference = nn.Linear(6, 3), nn.Linear(6, 3)
    reference.load_state_dict(ours.state_dict())
    optimiser = make_optimiser(ours, TrainingSpec(weight_decay=0.1, max_grad_norm=0.5))
    optimiser.learning_rate.fill_(1e-2)
    plain = torch.optim.AdamW(
        [{"params": [reference.weight], "weight_decay": 0.1}, {"params": [reference.bias], "weight_decay": 0.0}],
        lr=1e-2,
    )
    for _ in range(20):
        x = torch.randn(5, 6)
        for model in (ours, reference):
            model(x).square().sum().backward()
        optimiser.step()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
        plain.step()
        plain.zero_grad()
    torch.testing.assert_close(ours.weight, reference.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.bias, reference.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_checkpointing_changes_nothing_but_memory(method: str, tiny_model: Path) -> None:
    def trained(checkpointing: bool) -> np.ndarray[Any, Any]:
        loaded = load_classifier(tiny_model, load_config(tiny_model, 3), 0, CPU)
        torch.manual_seed(5)
        model = METHODS.classes()[method].model_validate({"method": method}).adapt(loaded)
        engine = make_engine(
            model, loaded, TrainingSpec(batch_size=4, gradient_checkpointing=checkpointing), CPU, torch.float32
        )
        tokens = Tokens(TOKENS.ids % 20, TOKENS.offsets, TOKENS.labels)
        list(engine.steps(tokens, [(np.arange(4), 1e-2), (np.arange(4, 10), 1e-2)]))
        return engine.logits(tokens)

    np.testing.assert_allclose(trained(checkpointing=True), trained(checkpointing=False), rtol=1e-5, atol=1e-6)
