"""Memory on a CUDA device: as foretold, and what an evaluation does with too little."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from test_engines import PACKED, classifier, make_tokens
from tiny_models import FITTING, VOCABULARY, model_folder
from tuneoff.data.tokens import Tokens
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.quantised import quantisation_of
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
