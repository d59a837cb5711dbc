"""Tuneoff's engine against `transformers.Trainer`: the same model, data, batches, precision and settings.

    python benchmarks/vs_trainer.py                                     the quickstart, a few steps an arm
    python benchmarks/vs_trainer.py STUDY --set training.batch_size=60  any study, shipped or a file
    python benchmarks/vs_trainer.py STUDY --accuracy                    all steps, and the test score of each seed

Every measurement has a fresh process of its own. Engines take turns, arm by arm and repeat by repeat; a repeat's
number is its seed. benchmarks/README.md says what is counted and how to read the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_engine import Measured, Work, measure, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuneoff.spec import TrainingSpec

ENGINES = (
    "tuneoff",
    "tuneoff-checkpointing",
    "trainer",
    "trainer-checkpointing",
    "trainer-grouped",
    "trainer-compiled",
    "trainer-grouped-compiled",
)
"""`grouped`: batches of texts of similar lengths, as `group_by_length` makes them."""


def main() -> None:
    """Measures every arm in every engine, prints the table and writes the JSON."""
    arguments = _arguments()
    from tuneoff.core.files import write_json
    from tuneoff.data.parts import WHOLE
    from tuneoff.measure.environment import environment
    from tuneoff.spec import load_study
    from tuneoff.study.prepare import prepare_study
    from tuneoff.study.rates import at_starting_rates
    from tuneoff.training.loop import total_steps

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tuneoff.runs.preload"])
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        overrides = list(arguments.set)
        if arguments.random_weights:
            overrides.append(f"model.id={with_random_weights(arguments.random_weights, scratch / 'model')}")
        spec = load_study(arguments.study, overrides)
        prepared = prepare_study(spec, scratch, print)
        prepared.save()
        device, rate = _in_process(context, _matrix_rate, spec.training)
        print(f"{device}; a large bf16 matrix product: {rate / 1e12:.2f} TFLOP/s", flush=True)
        steps = None if arguments.accuracy else arguments.steps
        steps_of_a_run = total_steps(prepared.prepared.part(WHOLE).sizes["train"], spec.training)
        settled = at_starting_rates(spec.arms, prepared.prepared.model_width, steps_of_a_run)
        arms = [arm for arm in settled if not arguments.arms or arm.name in arguments.arms]
        for engine in arguments.engines:  # fills the disk cache with libraries and kernels; not counted
            _in_process(context, measure, Work(spec, prepared, engine, arms[0], 0, 4))
        measured: list[Measured] = []
        for seed in range(arguments.repeats):
            for arm in arms:
                for engine in arguments.engines:
                    work = Work(spec, prepared, engine, arm, seed, steps)
                    measured.append(_in_process(context, measure, work))
                    print(json.dumps(asdict(measured[-1])), flush=True)
                    if arguments.json:
                        found = {
                            "study": spec.model_dump(mode="json"),
                            "device": device,
                            "environment": environment().model_dump(mode="json"),
                            "date": time.strftime("%Y-%m-%d"),
                            "matrix_flops_per_second": rate,
                            "summary": _summarise(measured, rate),
                            "measured": [asdict(one) for one in measured],
                        }
                        write_json(arguments.json, found)
        print(_markdown(_summarise(measured, rate)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="quickstart", help="a study file or a shipped study's name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a field of the study")
    parser.add_argument("--arms", nargs="+", help="arms to measure; all when left out")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["tuneoff", "trainer"])
    parser.add_argument("--steps", type=int, default=12, help="optimiser steps a measurement, at least 4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--accuracy", action="store_true", help="train to the end and score the test split")
    parser.add_argument(
        "--random-weights", type=Path, metavar="DIR", help="a model folder without weights: draw some, to measure cost"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    return parser.parse_args()


def with_random_weights(folder: Path, out: Path) -> Path:
    """A copy of a model folder that lacks weights, with random ones."""
    import torch
    from transformers import AutoConfig, AutoModel

    shutil.copytree(folder, out)
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(out)
    return out


def _in_process(context: Any, function: Any, argument: Any) -> Any:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, argument))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _send(sender: Any, function: Any, argument: Any) -> None:
    sender.send(function(argument))


def _matrix_rate(training: TrainingSpec) -> tuple[str, float]:
    """The device's name, and floating-point operations a second of a large bf16 matrix product on it."""
    import torch

    from tuneoff.measure.environment import processor, usable_cores
    from tuneoff.training.cpu import settle_on_cpu
    from tuneoff.training.device import choose_device

    device = choose_device(training)
    if device.type == "cpu":
        settle_on_cpu(usable_cores())
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(20):
        wait_for(device)
        start = time.perf_counter()
        torch.mm(left, right)
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return name, 2 * size**3 / statistics.median(seconds)


def _summarise(measured: Sequence[Measured], rate: float) -> list[dict[str, Any]]:
    """One row an arm and engine: medians over the repeats, and ratios to Trainer's medians."""
    groups: dict[tuple[str, str], list[Measured]] = {}
    for one in measured:
        groups.setdefault((one.arm, one.engine), []).append(one)
    rows = []
    for (arm, engine), ones in groups.items():
        row: dict[str, Any] = {"arm": arm, "method": ones[0].method, "engine": engine, "repeats": len(ones)}
        for key in ("examples_per_second", "tokens_per_second", "peak_memory_bytes", "setup_seconds"):
            row[key] = statistics.median(getattr(one, key) for one in ones)
        row["examples_per_second_range"] = [f(one.examples_per_second for one in ones) for f in (min, max)]
        row["scores"] = [one.test_score for one in ones if one.test_score is not None]
        row["share_of_matrix_rate"] = 6 * ones[0].matrix_parameters * row["tokens_per_second"] / rate
        rows.append(row)
    for row in rows:
        for other in rows:
            if other["arm"] == row["arm"] and other["engine"].startswith("trainer"):
                row[f"speed_over_{other['engine']}"] = row["examples_per_second"] / other["examples_per_second"]
                row[f"memory_over_{other['engine']}"] = row["peak_memory_bytes"] / other["peak_memory_bytes"]
    return rows


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    peers = [engine for engine in ENGINES if engine.startswith("trainer") and f"speed_over_{engine}" in rows[0]]
    head = ["arm", "engine", "examples/s (range)", "peak MB", "set-up s", "share of matrix rate"]
    head += [f"speed, memory ÷ {peer}" for peer in peers] + ["test score"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        low, high = row["examples_per_second_range"]
        lines.append(
            [
                row["arm"],
                row["engine"],
                f"{row['examples_per_second']:,.1f} ({low:,.1f}–{high:,.1f})",
                f"{row['peak_memory_bytes'] / 1e6:,.0f}",
                f"{row['setup_seconds']:.1f}",
                f"{row['share_of_matrix_rate']:.1%}" if row["method"] == "full" else "",
                *(f"{row[f'speed_over_{peer}']:.2f}, {row[f'memory_over_{peer}']:.2f}" for peer in peers),
                " ".join(f"{accuracy:.4f}" for accuracy in row["scores"]),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
