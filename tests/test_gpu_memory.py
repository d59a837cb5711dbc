"""Memory on a CUDA device: as foretold, and what an evaluation does with too little."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from engine_parts import PACKED, classifier, make_tokens
from tiny_models import FITTING, VOCABULARY, model_folder
from tuneoff.data.tokens import Tokens
from tuneoff.measure.environment import visible_gpus
from tuneoff.measure.gpus import own_gpu_bytes
from tuneoff.measure.held import held_bytes
from tuneoff.measure.memory import CudaPeak
from tuneoff.measure.step_marks import StepMarks
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.quantised import quantisation_of
from tuneoff.records.measurements import PeakParts
from tuneoff.runs.memory_forecast import ArmForecast, BatchShape
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.training.engines.choose import make_engine

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CUDA = torch.device("cuda")
WIDE = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 4}
CASES = [("full", "bert"), ("lora", "llama"), ("ia3", "roberta"), ("dora", "gpt2"), ("full", "deberta-v2")]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("method", "kind"), CASES)
def test_memory_is_as_foretold(method: str, kind: str, checkpointing: bool, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        foretold, measured = pool.submit(memory_of_a_run, method, kind, checkpointing, tmp_path / "model").result()
    # What libraries take differs by some tens of megabytes, which is much of a model this small.
    assert -0.03 * measured < foretold - measured < 0.05 * measured + 50e6


def memory_of_a_run(method: str, kind: str, checkpointing: bool, folder: Path) -> tuple[int, int]:
    """Foretold and measured bytes, in a process of its own, whose allocator holds nothing else."""
    model_folder(kind, folder, **WIDE, max_position_embeddings=514)
    arm = METHODS.named(method).model_validate({"method": method, "learning_rate": 1e-3})
    training = TrainingSpec(batch_size=32, gradient_checkpointing=checkpointing)
    shape = BatchShape(tokens=32 * 500, sequences=32, longest=500)
    foretold = ArmForecast(arm, load_config(folder, 2), training).parts(shape).allocated
    loaded = load_classifier(folder, load_config(folder, 2), 0, CUDA)
    engine = make_engine(arm.adapt(loaded), loaded, training, CUDA, torch.bfloat16, arm=arm)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    texts = make_tokens([500] * 64)
    texts = Tokens(texts.ids % VOCABULARY, texts.offsets, texts.labels % 2)
    batches = [np.arange(32), np.arange(32, 64)]
    engine.prepare(texts, batches)
    list(engine.steps(texts, [(rows, 1e-3) for rows in batches]))
    torch.cuda.synchronize()
    return foretold, torch.cuda.max_memory_allocated()


@pytest.mark.parametrize(("method", "kind"), [("full", "bert"), ("lora", "llama"), ("ia3", "roberta")])
def test_parts_add_up_to_the_peak_and_checkpointing_shows_in_the_activations(
    method: str, kind: str, tmp_path: Path
) -> None:
    found = []
    for checkpointing in (False, True):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            parts, peak, held = pool.submit(parts_of_a_run, method, kind, checkpointing, tmp_path / "model").result()
        assert abs(parts.total - peak) <= 0.02 * peak, (parts, peak)
        assert (parts.weights, parts.optimiser) == held
        assert 0 <= (parts.workspace or 0) < 300e6, parts
        assert (parts.graph_pools or 0) > 0.9 * (parts.activations or 0), parts  # a graph's step lies in its pool
        found.append(parts)
    plain, saved = found
    assert (plain.activations or 0) > 3 * (saved.activations or 0), found
    assert plain.activations == pytest.approx(foretold_activations(method, kind, tmp_path / "model"), rel=0.2)


@pytest.mark.parametrize(("method", "micro_batch"), [("adalora", 32), ("full", 8)])
def test_parts_of_eager_steps_add_up_to_the_peak(method: str, micro_batch: int, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        parts, peak, held = pool.submit(parts_of_a_run, method, "bert", False, tmp_path / "model", micro_batch).result()
    assert abs(parts.total - peak) <= 0.02 * peak, (parts, peak)
    assert parts.weights == held[0]
    assert (parts.activations or 0) > 0.2 * parts.total, parts
    assert parts.graph_pools is None
    if method == "full":  # of the passes before
        assert parts.gradients == pytest.approx(parts.weights, rel=0.02)


def parts_of_a_run(
    method: str, kind: str, checkpointing: bool, folder: Path, micro_batch: int = 32
) -> tuple[PeakParts, int, tuple[int, int]]:
    """In a process of its own: the parts of its peak, the peak, and what weights and optimiser hold in the end."""
    if not folder.exists():
        model_folder(kind, folder, **WIDE, max_position_embeddings=514)
    arm = METHODS.named(method).model_validate({"method": method, "learning_rate": 1e-3})
    training = TrainingSpec(batch_size=32, gradient_checkpointing=checkpointing)
    loaded = load_classifier(folder, load_config(folder, 2), 0, CUDA)
    engine = make_engine(arm.adapt(loaded), loaded, training, CUDA, torch.bfloat16, micro_batch, arm=arm)
    meter = CudaPeak(CUDA)
    meter.reset()
    engine.marks = StepMarks(meter, engine.model, engine.optimiser.state)
    lengths = np.random.default_rng(0).integers(300, 500, size=32 * 6)
    texts = make_tokens(lengths.tolist())
    texts = Tokens(texts.ids % VOCABULARY, texts.offsets, texts.labels % 2)
    batches = [np.arange(start, start + 32) for start in range(0, len(lengths), 32)]
    engine.prepare(texts, batches)
    list(engine.steps(texts, [(rows, 1e-3) for rows in batches]))
    torch.cuda.synchronize()
    engine.marks.between_steps(meter.present_bytes())
    assert engine.marks.most is not None
    parts = engine.marks.most.model_copy(update={"graph_pools": engine.marks.graph_pools})
    return parts, meter.peak_bytes(), held_bytes(engine.model, engine.optimiser.state())


def foretold_activations(method: str, kind: str, folder: Path) -> int:
    """Of the largest batch of `parts_of_a_run`, without checkpointing."""
    arm = METHODS.named(method).model_validate({"method": method, "learning_rate": 1e-3})
    lengths = np.random.default_rng(0).integers(300, 500, size=(6, 32))
    shape = BatchShape(tokens=int(lengths.sum(axis=1).max()), sequences=32, longest=int(lengths.max()))
    return ArmForecast(arm, load_config(folder, 2), TrainingSpec(batch_size=32)).parts(shape).activations


def test_marks_between_stages_lose_nothing_of_the_peak() -> None:
    meter = CudaPeak(CUDA)
    meter.reset()
    before, size = meter.present_bytes(), 64 * 1024 * 1024
    held = torch.ones(size, dtype=torch.uint8, device=CUDA)
    assert meter.stage() == (before + size, before + size)
    del held
    assert meter.stage() == (before, before + size)
    assert meter.stage() == (before, before)
    assert meter.peak_bytes() == before + size
    assert meter.reserved_bytes() >= before + size
    meter.restart()
    assert meter.peak_bytes() == before


def test_what_a_process_takes_of_a_gpu_holds_all_that_pytorch_reserves() -> None:
    torch.ones(1, device=CUDA)
    taken = own_gpu_bytes(visible_gpus()[0])  # None where the driver does not tell processes apart
    assert taken is None or taken > torch.cuda.memory_reserved()


def test_an_evaluation_without_enough_memory_takes_smaller_batches() -> None:
    # In a process of its own: what an allocator holds for earlier tests could serve as what is missing.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        needed, budget, difference = pool.submit(evaluate_with_little_memory).result()
    assert needed > 2e9
    assert budget < 65536
    assert difference < 0.02


def evaluate_with_little_memory() -> tuple[int, int, float]:
    """What an evaluation needs at its peak, in bytes; the tokens of a batch with 60% of it, and what that changes."""
    wide = {"hidden_size": 256, "num_attention_heads": 8, "intermediate_size": 32768}
    loaded = classifier("bert", {**PACKED["bert"], **wide})
    engine = make_engine(loaded.model, loaded, TrainingSpec(), CUDA, torch.bfloat16)
    long = make_tokens([60] * 1000, seed=2)
    expected = engine.logits(long)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    engine.logits(long)
    needed = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 0.6 * needed) / total, 0)
    logits = engine.logits(long)
    difference = np.linalg.norm(logits - expected) / np.linalg.norm(expected)
    return needed, engine._evaluation_tokens, float(difference)


def test_no_step_reads_memory_that_nothing_wrote(tiny_model: Path, subtests: pytest.Subtests) -> None:
    """PyTorch fills what it hands out with NaN here, which would come out of any sum that it gets into."""
    texts = make_tokens(np.random.default_rng(1).integers(1, 60, size=24).tolist(), seed=1)
    texts = Tokens(texts.ids % 20, texts.offsets, texts.labels % 2)
    steps = [(np.arange(start, start + 8), 1e-3) for start in range(0, 24, 8)]
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert torch.empty(4, device=CUDA).isnan().all()
        for name, method in METHODS.classes().items():
            for quantization in (None, *method.quantizations()):
                if method.fitted:
                    continue
                with subtests.test(name, quantization=quantization):
                    asked = {} if quantization is None else {"quantization": quantization}
                    options = {"method": name, "learning_rate": 1e-3, **FITTING.get(name, {}), **asked}
                    arm = method.model_validate(options)
                    quantisation = quantisation_of(arm.quantization, torch.bfloat16)
                    loaded = load_classifier(tiny_model, load_config(tiny_model, 2), 0, CUDA, quantisation)
                    training = TrainingSpec(batch_size=8)
                    engine = make_engine(arm.adapt(loaded), loaded, training, CUDA, torch.bfloat16, arm=arm)
                    list(engine.steps(texts, steps))
                    assert np.isfinite(engine.mean_loss())
                    assert np.isfinite(engine.logits(texts)).all()
    finally:
        torch.use_deterministic_algorithms(False)
