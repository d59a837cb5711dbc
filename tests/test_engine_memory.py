"""Memory that runs out, and steps that are tried before the first: what was trained is not touched by either."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from engine_parts import CPU, PACKED, PADDED, TOKENS, classifier
from tuneoff.measure.memory import PeakSoFar, peak_memory
from tuneoff.spec import TrainingSpec
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine

KINDS = {"bert": PACKED["bert"], "modernbert": PACKED["modernbert"], "deberta": PADDED["deberta"]}


def engine_for(kind: str) -> Engine:
    loaded = classifier(kind, KINDS[kind])
    return make_engine(loaded.model, loaded, TrainingSpec(batch_size=4), CPU, torch.float32)


def on_a_device_that_holds(slots: int, engine: Engine) -> list[int]:
    """Makes batches of more token slots ask for more memory than there is; returns the sizes of all as they come."""
    tried: list[int] = []

    def before(_module: Any, _inputs: Any, options: dict[str, Any]) -> None:
        size = options["input_ids"].numel()
        tried.append(size)
        if size > slots:
            torch.empty(1 << 61, dtype=torch.uint8)

    engine.model.register_forward_pre_hook(before, with_kwargs=True)
    return tried


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", [60, 31])
def test_an_evaluation_that_runs_out_of_memory_takes_smaller_batches(kind: str, slots: int) -> None:
    expected = engine_for(kind).logits(TOKENS)
    engine = engine_for(kind)
    tried = on_a_device_that_holds(slots, engine)
    np.testing.assert_allclose(engine.logits(TOKENS), expected, rtol=1e-4, atol=1e-5)
    assert max(tried) > slots
    # What was found out is not found out again.
    tried.clear()
    engine.logits(TOKENS)
    assert sum(tried) >= len(TOKENS.ids)
    assert max(tried) <= slots


def test_an_evaluation_for_which_one_sequence_is_too_much_fails() -> None:
    engine = engine_for("bert")
    on_a_device_that_holds(29, engine)  # and there is one of 30
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        engine.logits(TOKENS)


def test_other_errors_of_an_evaluation_are_no_want_of_memory() -> None:
    engine = engine_for("bert")
    calls = []

    def fail(*_: Any) -> None:
        calls.append(1)
        raise RuntimeError("not this")

    engine.model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="not this"):
        engine.logits(TOKENS)
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["bert", "deberta"])  # the second draws from PyTorch's own random state
@pytest.mark.parametrize("fails", [False, True])
def test_steps_that_are_tried_leave_no_trace(kind: str, fails: bool) -> None:
    def trained(tried: bool) -> np.ndarray[Any, Any]:
        engine = engine_for(kind)
        torch.manual_seed(4)
        if tried:
            engine.model.train()
            try:
                with engine._leaving_no_trace():
                    engine._step(TOKENS, np.arange(4), 0.0)
                    engine._accumulate(TOKENS, np.arange(3), 4)
                    assert any(parameter.grad is not None for parameter in engine.model.parameters())
                    if fails:
                        raise RuntimeError("operation not permitted when stream is capturing")
            except RuntimeError:
                assert fails
            assert all(parameter.grad is None for parameter in engine.model.parameters())
            assert float(engine._loss_sum) == 0.0
        list(engine.steps(TOKENS, [(np.arange(4), 1e-2), (np.arange(4, 10), 1e-2)]))
        return engine.logits(TOKENS)

    np.testing.assert_array_equal(trained(tried=True), trained(tried=False))


def test_memory_of_evaluations_is_not_that_of_training() -> None:
    meter = peak_memory(CPU)
    meter.reset()
    peak = PeakSoFar(meter)
    size = 64 * 1024 * 1024
    with peak.evaluating():
        held = torch.ones(4 * size // 4)
        del held
    assert peak.so_far()["eval"] > peak.so_far()["train"]
    before = peak.so_far()
    held = torch.ones(6 * size // 4)
    del held
    after = peak.so_far()
    assert after["eval"] == before["eval"]
    assert after["train"] - before["train"] > 3 * size
    resumed = PeakSoFar(peak_memory(CPU), after)
    assert all(resumed.so_far()[name] >= value for name, value in after.items())
