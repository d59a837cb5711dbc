"""Where the time of a training step goes on a GPU: kernels by kind, arm by arm.

    python benchmarks/profile_step.py benchmarks/imdb-roberta.toml --random-weights DIR --set data.train=... --arms full

Each arm is prepared as in a study (packed, captured as CUDA graphs), warmed up, timed, then profiled with PyTorch's
profiler, which sees the kernels inside a graph. docs/performance.md reads its tables.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from one_engine import wait_for
from vs_trainer import with_random_weights

KINDS = {
    "matrix products": ("gemm", "nvjet", "cutlass", "splitk", "cublas", "matmul"),
    "attention": ("flash", "fmha", "varlen"),
    "optimiser": ("multi_tensor", "adam", "lpnorm", "foreach"),
    "copies": ("memcpy", "memset", "copy"),
    "4-bit weights": ("dequant",),
    "fused by the compiler": ("triton_",),
}


def main() -> None:
    """Profiles every arm and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="a study file or a shipped study's name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a field of the study")
    parser.add_argument("--arms", nargs="+", help="arms to profile; all when left out")
    parser.add_argument("--steps", type=int, default=32, help="steps that are timed, then profiled")
    parser.add_argument("--random-weights", type=Path, metavar="DIR", help="a model folder without weights: draw some")
    parser.add_argument("--kernels", type=int, default=12, help="slowest kernels to list")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    arguments = parser.parse_args()
    from tuneoff.spec import load_study
    from tuneoff.study.prepare import prepare_study

    with tempfile.TemporaryDirectory() as name:
        overrides = list(arguments.set)
        if arguments.random_weights:
            overrides.append(f"model.id={with_random_weights(arguments.random_weights, Path(name) / 'model')}")
        spec = load_study(arguments.study, overrides)
        prepared = prepare_study(spec, Path(name), print)
        prepared.save()
        found = [
            _profile(spec, prepared, arm, arguments.steps)
            for arm in spec.arms
            if not arguments.arms or arm.name in arguments.arms
        ]
    for profile in found:
        _print(profile, arguments.kernels)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def _profile(spec: Any, prepared: Any, arm: Any, steps: int) -> dict[str, Any]:
    import torch
    from torch.profiler import ProfilerActivity, profile

    from tuneoff.data.prepared import load_tokens
    from tuneoff.models.load import load_classifier, load_config
    from tuneoff.models.quantised import quantisation_of
    from tuneoff.training.device import choose_device, choose_precision
    from tuneoff.training.engines.choose import make_engine
    from tuneoff.training.order import epoch_batches

    device = choose_device(spec.training)
    precision = choose_precision(spec.training, device)
    config = load_config(prepared.model_folder, len(prepared.prepared.label_names), prepared.prepared.pad_token_id)
    loaded = load_classifier(prepared.model_folder, config, 0, device, quantisation_of(arm.quantization, precision))
    torch.manual_seed(0)
    engine = make_engine(arm.adapt(loaded), loaded, spec.training, device, precision, arm=arm)
    tokens = load_tokens(prepared.data_folder, spec.data.long_texts)["train"]
    batches = epoch_batches(tokens.lengths, spec.training.batch_size, 0, 0, bucketed=engine.bucketed)[:steps]
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    engine.prepare(tokens, batches)
    setup = time.perf_counter() - began
    schedule = [(rows, 1e-5) for rows in batches]
    list(engine.steps(tokens, schedule))
    wait_for(device)
    began = time.perf_counter()
    list(engine.steps(tokens, schedule))
    wait_for(device)
    seconds = (time.perf_counter() - began) / len(batches)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        list(engine.steps(tokens, schedule))
        wait_for(device)
    kernels: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in profiler.events():
        if event.device_time_total:
            kernels[event.name] += event.device_time_total / len(batches)
            calls[event.name] += 1
    kinds: Counter[str] = Counter()
    for kernel, microseconds in kernels.items():
        kinds[_kind(kernel)] += microseconds
    examples = sum(map(len, batches)) / len(batches)
    result = {
        "arm": arm.name,
        "engine": engine.describe(),
        "setup_seconds": setup,
        "step_milliseconds": 1000 * seconds,
        "examples_per_second": examples / seconds,
        "tokens_per_step": float(np.mean([tokens.lengths[rows].sum() for rows in batches])),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(),
        "kinds_milliseconds": {kind: time_ / 1000 for kind, time_ in kinds.most_common()},
        "kernels": [
            {"kernel": kernel, "microseconds": microseconds, "calls": calls[kernel] / len(batches)}
            for kernel, microseconds in kernels.most_common(60)
        ],
    }
    del engine, loaded
    torch.cuda.empty_cache()
    return result


def _kind(kernel: str) -> str:
    lowered = kernel.lower()
    for kind, marks in KINDS.items():
        if any(mark in lowered for mark in marks):
            return kind
    return "element by element"


def _print(profile: dict[str, Any], kernels: int) -> None:
    print(
        f"\n{profile['arm']}: {profile['step_milliseconds']:.2f} ms a step, {profile['examples_per_second']:.0f} "
        f"examples/s, {profile['tokens_per_step']:.0f} tokens a step, {profile['peak_memory_bytes'] / 1e6:.0f} MB, "
        f"set-up {profile['setup_seconds']:.1f} s, {profile['engine']}"
    )
    busy = sum(profile["kinds_milliseconds"].values())
    print(f"  kernels {busy:.2f} ms: " + ", ".join(f"{k} {v:.2f}" for k, v in profile["kinds_milliseconds"].items()))
    for kernel in profile["kernels"][:kernels]:
        print(f"  {kernel['microseconds']:8.1f} us {kernel['calls']:6.1f} calls  {kernel['kernel'][:110]}")


if __name__ == "__main__":
    main()
