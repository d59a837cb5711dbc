"""What a run's peak of memory is made of: by marks between the stages of a step; on CPUs of resident memory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import tuneoff as api
from conftest import study_toml
from engine_parts import CPU, TOKENS, make_tokens
from test_engine_memory import engine_for
from test_memory_forecast import BATCH, forecast
from tiny_models import FITTING
from tuneoff.core.files import canonical_hash
from tuneoff.data.tokens import Tokens
from tuneoff.measure.gpus import own_gpu_bytes
from tuneoff.measure.memory import ResidentPeak
from tuneoff.measure.meta_memory import MetaMemory
from tuneoff.measure.step_marks import StepMarks
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.quantised import quantisation_of
from tuneoff.records.measurements import PeakParts
from tuneoff.records.run import ScoredRun
from tuneoff.runs.memory_forecast import ArmForecast, _AttentionOfAGpu
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.training.engines.choose import make_engine

TEXTS = make_tokens([40] * 8 + [90] * 8 + [20] * 8 + [90] * 8)
STEPS = [np.arange(start, start + 8) for start in range(0, 32, 8)]


class MetaAllocator:
    """The meta device asked as an allocator is: what lives there is what a GPU's would have handed out."""

    def __init__(self, memory: MetaMemory) -> None:
        self._memory = memory
        self.asked = 0

    def stage(self) -> tuple[int, int]:
        self.asked += 1
        now, most = (sum(parts.values()) for parts in (self._memory.live, self._memory.at_peak))
        self._memory.start_peak()
        return now, most


def marked(found: ArmForecast) -> StepMarks:
    """Marks of the steps that a forecast's engine takes from now on."""
    engine = found._engine
    engine.marks = StepMarks(MetaAllocator(found._memory), engine.model, engine.optimiser.state)
    return engine.marks


def parts_of_steps(found: ArmForecast, *steps: Any) -> PeakParts:
    """The parts of the step that needed the most, of real steps of the engine on texts without content."""
    marks = marked(found)
    with found._memory, _AttentionOfAGpu():
        list(found._engine.steps(TEXTS, [(rows, 1e-3) for rows in steps]))
    assert marks.most is not None
    return marks.most


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("method", "kind"), [("full", "bert"), ("lora", "llama"), ("ia3", "roberta")])
def test_marks_find_the_parts_that_following_each_tensor_finds(method: str, kind: str, checkpointing: bool) -> None:
    training = {"gradient_checkpointing": checkpointing}
    expected = forecast(method, kind, training).parts(BATCH)
    found = forecast(method, kind, training)
    marks = marked(found)
    found.parts(BATCH)
    parts = marks.most
    assert parts is not None
    assert parts.total == expected.allocated - expected.libraries
    assert parts.weights == pytest.approx(expected.weights, rel=0.01)
    assert parts.optimiser == pytest.approx(expected.optimiser, rel=0.02)
    assert 0 < (parts.workspace or 0) < 1e6
    assert parts.gradients == pytest.approx(expected.gradients, rel=0.02)
    # What was freed between the last mark before the peak and the peak still counts.
    assert expected.activations <= (parts.activations or 0) * 1.01 < expected.activations + 0.1 * parts.total


@pytest.mark.parametrize("kind", ["bert", "deberta"])
def test_checkpointing_shows_in_the_activations(kind: str) -> None:
    plain, saved = (
        parts_of_steps(forecast("full", kind, {"gradient_checkpointing": checkpointing}), STEPS[1])
        for checkpointing in (False, True)
    )
    assert (plain.activations or 0) > 4 * (saved.activations or 0)
    assert plain.weights == saved.weights
    assert plain.optimiser == saved.optimiser == pytest.approx(6 * plain.weights, rel=0.01)
    assert plain.total > saved.total


@pytest.mark.parametrize("kind", ["bert", "deberta"])
def test_the_parts_are_those_of_the_largest_step(kind: str) -> None:
    alone = parts_of_steps(forecast("lora", kind), STEPS[1])
    found = forecast("lora", kind)
    among_others = parts_of_steps(found, *STEPS)
    assert among_others.total == alone.total
    assert among_others.activations == alone.activations
    assert found._engine.marks is not None
    allocator: Any = found._engine.marks._allocator
    before = allocator.asked
    with found._memory, _AttentionOfAGpu():
        list(found._engine.steps(TEXTS, [(rows, 1e-3) for rows in STEPS]))
    assert allocator.asked == before  # none of them is larger than those that were marked: a step costs nothing


def test_gradients_that_are_accumulated_are_there_in_later_passes() -> None:
    whole, in_passes = forecast("full"), forecast("full")
    in_passes._engine.micro_batch = 2
    at_once, parts = parts_of_steps(whole, STEPS[1]), parts_of_steps(in_passes, STEPS[1])
    assert parts.gradients == pytest.approx(parts.weights, rel=0.01)
    assert (parts.activations or 0) < 0.4 * (at_once.activations or 0)


def test_what_the_first_step_makes_for_the_optimiser_is_part_of_the_next_one() -> None:
    found = forecast("adalora")  # whose ranks are in float32 beside a head in bfloat16, for PyTorch's AdamW
    marks = marked(found)
    trained = sum(p.numel() for p in found._engine.model.parameters() if p.requires_grad)
    with found._memory:
        found._engine.empty_step(2000, 8, 400)
        assert marks.most is not None
        assert marks.most.optimiser < 8 * trained
        found._engine.empty_step(1995, 8, 400)
    assert marks.most.optimiser >= 8 * trained


def test_memory_between_steps_counts_where_it_is_more() -> None:
    found = forecast("lora")
    step = parts_of_steps(found, STEPS[1])
    marks = found._engine.marks
    assert marks is not None
    marks.between_steps(step.total - 1)
    assert marks.most == step
    marks.between_steps(step.total + 10**9)
    assert marks.most is not None
    assert marks.most.total == step.total + 10**9
    assert (marks.most.gradients, marks.most.activations, marks.most.temporary) == (0, 0, 0)
    assert marks.most.weights == step.weights


class Resident(ResidentPeak):
    """Main memory asked as an allocator is."""

    def stage(self) -> tuple[int, int]:
        return self.present_bytes(), self.peak_bytes()


@pytest.mark.parametrize("kind", ["bert", "deberta"])
def test_marks_change_nothing_of_what_is_trained(kind: str) -> None:
    def trained(is_marked: bool) -> np.ndarray[Any, Any]:
        engine = engine_for(kind)
        if is_marked:
            engine.marks = StepMarks(Resident(), engine.model, engine.optimiser.state)
        list(engine.steps(TOKENS, [(np.arange(4), 1e-2), (np.arange(4, 10), 1e-2)]))
        hooks = [parameter._post_accumulate_grad_hooks for parameter in engine.model.parameters()]
        assert not any(hooks)
        return engine.logits(TOKENS)

    np.testing.assert_array_equal(trained(True), trained(False))


@pytest.mark.wide
def test_steps_of_every_method_can_be_marked(tiny_model: Path, subtests: pytest.Subtests) -> None:
    texts = Tokens(TOKENS.ids % 20, TOKENS.offsets, TOKENS.labels % 2)
    for name, method in METHODS.classes().items():
        if method.fitted:
            continue
        with subtests.test(name):
            arm = method.model_validate({"method": name, "learning_rate": 1e-3, **FITTING.get(name, {})})
            quantisation = quantisation_of(arm.quantization, torch.float32)
            loaded = load_classifier(tiny_model, load_config(tiny_model, 2), 0, CPU, quantisation)
            training = TrainingSpec(batch_size=4)
            engine = make_engine(arm.adapt(loaded), loaded, training, CPU, torch.float32, arm=arm)
            engine.marks = StepMarks(Resident(), engine.model, engine.optimiser.state)
            list(engine.steps(texts, [(np.arange(4), 1e-3), (np.arange(4), 1e-3)]))
            parts = engine.marks.most
            assert parts is not None
            assert parts.weights > 0
            assert min(size for size in dict(parts).values() if size is not None) >= 0


def test_a_step_that_fails_leaves_no_marks_behind() -> None:
    engine = engine_for("bert")
    engine.marks = marks = StepMarks(MetaAllocator(MetaMemory()), engine.model, engine.optimiser.state)
    with pytest.raises(RuntimeError, match="not this"), marks.of_step(10):
        raise RuntimeError("not this")
    assert marks.most is None
    assert not any(parameter._post_accumulate_grad_hooks for parameter in engine.model.parameters())


@pytest.mark.parametrize(
    ("processes", "known"),
    [
        ({os.getpid(): 5}, 5),
        ({os.getpid(): 5, 1: 7}, 5),
        ({2**30: 7}, 7),  # in a container processes have other numbers
        ({2**30: 7, 2**30 + 1: 8}, None),
        ({os.getpid(): None}, None),
        ({}, None),
    ],
)
def test_what_the_driver_says_of_this_process(
    processes: dict[int, int | None], known: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetComputeRunningProcesses=lambda _: [
            SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes.items()
        ],
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)  # there is no GPU here
    assert own_gpu_bytes("0") == known


def test_runs_on_a_cpu_tell_what_is_known_of_resident_memory(
    tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(
        study_toml(tiny_model, data_files, ["full", "lora", "frozen_features"], seeds=2)
    )
    results = api.run_study(api.load_study(tmp_path / "study.toml"), tmp_path / "out", report=False)
    by_arm: dict[str, list[ScoredRun]] = {}
    for run in results.runs:
        assert isinstance(run, ScoredRun)
        by_arm.setdefault(run.arm, []).append(run)
        parts, peak = run.memory_parts, run.peak_memory_bytes.train
        if run.arm == "frozen_features":  # which takes no steps
            assert parts is None
            continue
        assert parts is not None
        assert abs(parts.total - peak) <= 0.02 * peak
        assert (parts.weights, parts.optimiser) == (run.weights_bytes, run.optimiser_bytes)
        assert parts.process is not None
        assert 0 < parts.process < peak
        assert (parts.gradients, parts.activations, parts.workspace) == (None, None, None)
        assert (parts.graph_pools, parts.context) == (None, None)
    for arm in results.summary.scored_arms:
        highest = max(by_arm[arm.arm], key=lambda run: run.peak_memory_bytes.train)
        assert arm.memory_parts == highest.memory_parts
    for path in (tmp_path / "out").glob("runs/*/result.json"):  # as it was written before there were parts
        result = json.loads(path.read_text())
        del result["memory_parts"], result["sha256"]
        path.write_text(json.dumps({**result, "sha256": canonical_hash(result)}))
    before = api.load_results(tmp_path / "out")
    assert [arm.memory_parts for arm in before.summary.scored_arms] == [None, None, None]
