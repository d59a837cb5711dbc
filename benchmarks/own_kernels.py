"""What each of Tuneoff's kernels earns, on one GPU: beside the best library there is, and of a whole training step.

    python benchmarks/own_kernels.py --json kernels.json

At RoBERTa-base's shape with 16,384 packed tokens in bfloat16, all in one process. The first table holds a step of the
engine with everything, then with each kernel left out alone (PyTorch's or peft's operations in its place). The second
holds each kernel's forward and backward pass beside what libraries offer: PyTorch, torch.compile, and where they are
installed flash-attn, liger-kernel and apex. Each figure is the median of CUDA events around replays of a CUDA graph.
What does not fit into `--seconds` is left out and said.

This file is not called kernels.py: transformers would take it for the package of that name.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import kernel_cases
from tuneoff.training.kernels import choice

ARMS = {
    "full": ("attention", "shared_linear", "residual_norm", "bias_gelu", "dropout", "adamw"),
    "lora": ("attention", "lora", "residual_norm", "dropout", "adamw"),
    "ia3": ("attention", "ia3", "residual_norm", "dropout", "adamw"),
}
"""Methods, and the kernels that each uses."""
STEPS, REPLAYS = 20, 25
SETTLING = 4


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--seconds", type=float, default=140.0, help="nothing is begun after this time")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), help="methods of whole steps")
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.seconds
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "tokens": kernel_cases.TOKENS,
        "steps": [],
        "kernels": [],
    }
    print(
        f"{found['device']}, torch {found['torch']}, {kernel_cases.TOKENS:,} tokens of RoBERTa-base's shape, bfloat16"
    )
    left_out: list[str] = []
    # First what decides; the other methods' steps come last.
    for arm in arguments.arms[:1]:
        whole_steps(arm, deadline, found["steps"], left_out)
    single_kernels(deadline, found["kernels"], left_out)
    for arm in arguments.arms[1:]:
        whole_steps(arm, deadline, found["steps"], left_out)
    for module, why in kernel_cases.ABSENT.items():
        print(f"absent: {module} ({why})")
    for what in left_out:
        print(f"left out for time: {what}")
    found |= {"absent": kernel_cases.ABSENT, "left_out": left_out}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def whole_steps(arm: str, deadline: float, rows: list[dict[str, Any]], left_out: list[str]) -> None:
    """A row for each set of kernels."""
    print(f"\n{arm + ', a step':42} {'ms':>9} {'saved':>9} {'of the step':>12}  engine")
    variants = {"all kernels": set[str](), **{f"without {name}": {name} for name in ARMS[arm]}}
    variants["without any"] = set(choice.KERNELS)
    base = None
    for label, off in variants.items():
        if time.monotonic() > deadline:
            left_out.append(f"{arm}, {label}")
            continue
        try:
            spent, described = step_milliseconds(arm, off)
        except Exception as error:
            print(f"{label:42} failed: {type(error).__name__}: {error}".splitlines()[0], flush=True)
            rows.append({"arm": arm, "kernels": label, "error": str(error).splitlines()[0]})
            continue
        base = spent if base is None else base
        row = {"arm": arm, "kernels": label, "milliseconds": spent, "saved": spent - base, "engine": described}
        rows.append(row)
        how = f"{described['batches']}, {described['step']}, {described.get('fused_modules')} fused"
        print(f"{label:42} {spent:9.3f} {spent - base:9.3f} {(spent - base) / spent:12.1%}  {how}", flush=True)


def step_milliseconds(arm: str, off: set[str]) -> tuple[float, dict[str, Any]]:
    """Median time of an optimiser step of the engine, on the device, with some kernels left out."""
    with without(off), freed():
        engine, tokens, rows = make_engine_for(arm)
        engine.prepare(tokens, [rows])
        begins, ends = ([torch.cuda.Event(enable_timing=True) for _ in range(STEPS)] for _ in range(2))
        steps = engine.steps(tokens, [(rows, 1e-5)] * (STEPS + SETTLING))
        for _ in range(SETTLING):
            next(steps)
        for begin, end in zip(begins, ends, strict=True):
            begin.record()
            next(steps)
            end.record()
        torch.cuda.synchronize()
        spent = sorted(begin.elapsed_time(end) for begin, end in zip(begins, ends, strict=True))
        assert np.isfinite(engine.mean_loss())
        return spent[STEPS // 2], engine.describe()


def make_engine_for(arm: str) -> tuple[Any, Any, Any]:
    """An engine, tokens of one batch, and its rows. Weights are random: they do not change how long a step takes."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from tuneoff.data.tokens import Tokens
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.arms import METHODS
    from tuneoff.training.engines.choose import make_engine

    lengths = kernel_cases.lengths_of_reviews()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    draw = np.random.default_rng(0)
    ids = draw.integers(5, 50_000, size=int(offsets[-1])).astype(np.int32)
    tokens = Tokens(ids, offsets, draw.integers(0, 2, size=len(lengths)).astype(np.int64))
    config = AutoConfig.for_model(
        "roberta", vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1, num_labels=2
    )
    device = torch.device("cuda")
    torch.manual_seed(0)
    with device:
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    loaded = LoadedModel.of(model, ("classifier",))
    spec = METHODS.classes()[arm].model_validate({"method": arm})
    adapted = spec.adapt(loaded)
    training = TrainingSpec(batch_size=len(lengths))
    return make_engine(adapted, loaded, training, device, torch.bfloat16, arm=spec), tokens, np.arange(len(lengths))


@contextmanager
def without(names: set[str]) -> Iterator[None]:
    """Engines that are made inside do without some kernels."""
    choice.switched_off |= names
    try:
        yield
    finally:
        choice.switched_off -= names


@contextmanager
def freed() -> Iterator[None]:
    """What was allocated inside is given back after."""
    yield
    gc.collect()
    torch.cuda.empty_cache()


def single_kernels(deadline: float, rows: list[dict[str, Any]], left_out: list[str]) -> None:
    """A row for each way of each case."""
    print(f"\n{'forward and backward':42} {'us':>9} {'to ours':>9} {'difference':>12}  times a step")
    with torch.cuda.stream(torch.cuda.Stream()):  # the default one cannot be captured
        for case in kernel_cases.cases():
            if time.monotonic() > deadline:
                left_out.append(case.name)
                continue
            compare(case, deadline, rows, left_out)
            del case
            gc.collect()
            torch.cuda.empty_cache()


def compare(case: kernel_cases.Case, deadline: float, rows: list[dict[str, Any]], left_out: list[str]) -> None:
    """Times the ways of a case, the first of which is ours, and says how far their results lie from ours."""
    ours, expected = None, None
    for label, way in case.ways.items():
        name = f"{case.name}: {label}"
        if time.monotonic() > deadline:
            left_out.append(name)
            continue
        try:
            results = [tensor.detach().float() for tensor in way()]
            spent, captured = microseconds(way, case.calls)
        except Exception as error:  # whatever a library raises
            print(f"{name:42} failed: {type(error).__name__}: {error}".splitlines()[0], flush=True)
            rows.append({"case": case.name, "way": label, "error": str(error).splitlines()[0]})
            continue
        ours, expected = ours or spent, expected or results
        apart = max(
            float((found - wanted).norm() / wanted.norm().clamp_min(1e-6))
            for found, wanted in zip(results, expected, strict=True)
        )
        difference = apart if case.exact else None
        rows.append(
            {
                "case": case.name,
                "way": label,
                "microseconds": spent,
                "difference": difference,
                "times_a_step": case.times_a_step,
                "captured": captured,
            }
        )
        shown = "" if difference is None else f"{difference:12.1e}"
        note = "" if captured else "  not as a graph"
        print(f"{name:42} {spent:9.1f} {spent / ours:9.2f} {shown:>12}  {case.times_a_step}{note}", flush=True)


def microseconds(call: Callable[[], Any], calls: int) -> tuple[float, bool]:
    """Median time of a call on the device, and whether it was replayed as a graph, without waiting for Python."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            for _ in range(calls):
                call()
        replay, captured = graph.replay, True
    except Exception:  # an operation that cannot be captured
        torch.cuda.synchronize()
        replay, captured = lambda: [call() for _ in range(calls)], False  # type: ignore[assignment]
    replay()
    spent = []
    for _ in range(REPLAYS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        replay()
        end.record()
        torch.cuda.synchronize()
        spent.append(1000 * begin.elapsed_time(end) / calls)
    return sorted(spent)[REPLAYS // 2], captured


if __name__ == "__main__":
    main()
