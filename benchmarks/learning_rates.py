"""A wide search of learning rates by hand: what every arm of a study reaches at each of many, short and at length.

    python benchmarks/learning_rates.py STUDY... --json FILE           any study files, such as `tuneoff init` writes
    python benchmarks/learning_rates.py STUDY --lengths 1 0.25 --seeds 2 --processes 6

Every run trains with its own warm-up and decay over `length` of the study's steps and is scored on validation and on
test, so this is no way to choose a rate: it is what a choice is judged by (docs/tuning.md, docs/results.md). Several
runs share the device; nothing is timed. One line of JSON a run; a table of test accuracies at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import tempfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tuneoff.spec import StudySpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.study.prepare import PreparedStudy

RATES = {
    "full": (1e-6, 3.2e-3),
    "lora": (3.2e-5, 3.2e-2),
    "qlora": (3.2e-5, 3.2e-2),
    "ia3": (1e-3, 3.2e-1),
    "head_only": (1e-3, 1.0),
}
"""The lowest and the highest rate of each method, unless `--lowest` and `--highest` are narrower."""


@dataclass(frozen=True)
class Work:
    """One run."""

    spec: StudySpec
    prepared: PreparedStudy
    arm: ArmSpec
    rate: float
    length: float
    seed: int


def main() -> None:
    """Runs every combination and prints what came of it."""
    arguments = _arguments()
    from tuneoff.spec import load_study
    from tuneoff.study.prepare import prepare_study

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tuneoff.runs.preload"])
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        work: list[Work] = []
        for study in arguments.studies:
            spec = load_study(study, arguments.set)
            prepared = prepare_study(spec, Path(name) / spec.name, lambda _: None)
            prepared.save()
            work += _combinations(spec, prepared, arguments)
        work.sort(key=lambda one: one.length, reverse=True)
        with ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:
            for done in as_completed([pool.submit(_run, one) for one in work]):
                one = done.result()
                found.append(one)
                if arguments.json:
                    with Path(arguments.json).open("a", encoding="utf-8") as file:
                        file.write(json.dumps(one) + "\n")
                print(f"[{len(found)}/{len(work)}] {_line(one)}", flush=True)
    _print_table(found)


def _combinations(spec: StudySpec, prepared: PreparedStudy, arguments: argparse.Namespace) -> Iterator[Work]:
    for arm in spec.arms:
        if arguments.arms and arm.name not in arguments.arms:
            continue
        for length in arguments.lengths:
            for rate in _rates(arm.method, arguments):
                for seed in range(arguments.seeds if length == 1 else 1):
                    yield Work(spec, prepared, arm, rate, length, seed)


def _rates(method: str, arguments: argparse.Namespace) -> list[float]:
    """Rates at even distances, two digits as a person would write them."""
    lowest = arguments.lowest.get(method, RATES[method][0])
    highest = arguments.highest.get(method, RATES[method][1])
    steps = round(arguments.per_decade * math.log10(highest / lowest))
    return [float(f"{lowest * 10 ** (step / arguments.per_decade):.1e}") for step in range(steps + 1)]


def _run(work: Work) -> dict[str, Any]:
    """Trains and scores one run, in a process of the pool."""
    import torch

    from tuneoff.data.prepared import load_tokens
    from tuneoff.models.hide import bitsandbytes_hidden
    from tuneoff.models.load import load_classifier, load_config
    from tuneoff.models.quantised import quantisation_of
    from tuneoff.tasks.losses import CrossEntropy
    from tuneoff.tasks.objectives.accuracy import Accuracy
    from tuneoff.training.device import choose_device, choose_precision
    from tuneoff.training.engines.choose import make_engine
    from tuneoff.training.optim.adamw import learning_rates
    from tuneoff.training.order import epoch_batches

    training, prepared, arm = work.spec.training, work.prepared.prepared, work.arm
    device = choose_device(training)
    precision = choose_precision(training, device)
    tokens = load_tokens(work.prepared.data_folder, work.spec.data.long_texts)
    config = load_config(work.prepared.model_folder, len(prepared.label_names), prepared.pad_token_id)
    quantised = quantisation_of(arm.quantization, precision)
    loaded = load_classifier(work.prepared.model_folder, config, work.seed, device, quantised)
    torch.manual_seed(work.seed)
    if arm.quantised:
        model = arm.adapt(loaded)
    else:
        with bitsandbytes_hidden():
            model = arm.adapt(loaded)
    engine = make_engine(model, loaded, training, device, precision, arm=arm)
    lengths = tokens["train"].lengths
    batches = [
        rows
        for epoch in range(training.epochs)
        for rows in epoch_batches(lengths, training.batch_size, work.seed, epoch, engine.bucketed)
    ]
    batches = batches[: max(1, math.ceil(len(batches) * work.length))]
    engine.prepare(tokens["train"], batches)
    schedule = list(zip(batches, learning_rates(work.rate, len(batches), training.warmup_ratio), strict=True))
    losses = []
    for part in np.array_split(np.arange(len(schedule)), 3):
        for _ in engine.steps(tokens["train"], [schedule[step] for step in part]):
            pass
        losses.append(engine.mean_loss() if len(part) else math.nan)
    labels = {split: tokens[split].labels for split in ("train", "validation", "test")}
    logits = {split: engine.logits(tokens[split]) for split in ("validation", "test")}
    shares = np.bincount(labels["train"]) / len(labels["train"])
    shares = shares[shares > 0]
    return {
        "study": work.spec.name,
        "model": work.spec.model.id,
        "arm": arm.name,
        "rate": work.rate,
        "length": work.length,
        "seed": work.seed,
        "steps": len(batches),
        "train_losses": losses,
        "guess_loss": float(-(shares * np.log(shares)).sum()),
        "validation_loss": CrossEntropy().mean_loss(logits["validation"], labels["validation"]),
        "validation_accuracy": Accuracy.value(labels["validation"], logits["validation"].argmax(axis=1)),
        "test_accuracy": Accuracy.value(labels["test"], logits["test"].argmax(axis=1)),
        "majority": float(np.bincount(labels["test"]).max() / len(labels["test"])),
        "largest_share": float(np.bincount(logits["validation"].argmax(axis=1)).max() / len(labels["validation"])),
    }


def _line(one: dict[str, Any]) -> str:
    return (
        f"{one['study']} {one['arm']} {one['rate']:g} x{one['length']:g} seed {one['seed']}: loss "
        f"{one['train_losses'][-1]:.3f} of {one['guess_loss']:.3f}, test {100 * one['test_accuracy']:.1f}%"
    )


def _print_table(found: list[dict[str, Any]]) -> None:
    """Mean test accuracy over seeds: a row an arm and length, a column a rate."""
    cells: dict[tuple[str, str, float], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        cells[one["study"], one["arm"], one["length"]][one["rate"]].append(one["test_accuracy"])
    for (study, arm, length), row in sorted(cells.items()):
        means = "  ".join(f"{rate:g}: {100 * sum(row[rate]) / len(row[rate]):.1f}" for rate in sorted(row))
        print(f"{study:20} {arm:6} x{length:<5g} {means}")


def _limit(text: str) -> tuple[str, float]:
    method, _, rate = text.partition("=")
    return method, float(rate)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", help="study files, or names of shipped studies")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in `tuneoff run`")
    parser.add_argument("--arms", nargs="*", help="only these")
    parser.add_argument("--lengths", nargs="*", type=float, default=[1.0], help="shares of the study's steps")
    parser.add_argument("--seeds", type=int, default=1, help="of runs at full length; shorter ones have one")
    parser.add_argument("--lowest", nargs="*", type=_limit, default=[], metavar="METHOD=RATE", help="leave out lower")
    parser.add_argument("--highest", nargs="*", type=_limit, default=[], metavar="METHOD=RATE", help="and higher")
    parser.add_argument("--per-decade", type=int, default=2, help="rates between one and ten times it")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time")
    parser.add_argument("--json", help="append one line a run to this file")
    arguments = parser.parse_args()
    arguments.lowest, arguments.highest = dict(arguments.lowest), dict(arguments.highest)
    return arguments


if __name__ == "__main__":
    main()
