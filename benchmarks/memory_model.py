"""Memory of training on a CUDA device: foretold, measured, and what `accelerate estimate-memory` says.

    python benchmarks/memory_model.py SHAPE_FOLDER... [--methods full lora] [--sequences 4 16 64] [--tokens 128 512]

Each measurement has a process of its own. Models have random weights in the shapes of `shapes.py` (a folder with a
config.json each); all sequences of a batch are of one length. Measured is what PyTorch's allocator handed out at
most in the engine's preparation and four steps, as in a run; foretold is what `plan --gpu-memory` would say of it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vs_trainer import with_random_weights

METHODS = ("full", "lora", "qlora", "ia3", "bitfit", "dora", "oft", "vera", "houlsby", "head_only")


def main() -> None:
    """Measures all there is to, prints a line each, and how far the forecasts are off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", type=Path, nargs="+", help="model folders with a config.json")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--sequences", type=int, nargs="+", default=(4, 16, 64))
    parser.add_argument("--tokens", type=int, nargs="+", default=(128, 512))
    parser.add_argument("--without-checkpointing", action="store_true", help="leave gradient checkpointing out")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes at a time, as many as the device has room for"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    arguments = parser.parse_args()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tuneoff.runs.preload"])
    scratch = Path(tempfile.mkdtemp())
    cases = [
        Case(shape, *rest)
        for folder in arguments.shapes
        for shape in [with_random_weights(folder, scratch / folder.name)]
        for rest in itertools.product(
            arguments.methods,
            arguments.sequences,
            arguments.tokens,
            (False,) if arguments.without_checkpointing else (False, True),
        )
    ]
    found: list[dict[str, Any]] = []
    _take(cases, arguments.workers, found, arguments.json)
    # Beside others there may not have been room for it.
    without_room = [
        case for case in cases if any("out of memory" in one.get("error", "") for one in found if case.is_of(one))
    ]
    _take(without_room, 1, found, arguments.json)
    _say_how_far_off([one for one in found if "measured" in one])


class Case(NamedTuple):
    """What is measured once."""

    shape: Path
    method: str
    sequences: int
    tokens: int
    checkpointing: bool

    def described(self) -> dict[str, Any]:
        """What stands beside its figures."""
        return {**self._asdict(), "shape": self.shape.name}

    def is_of(self, figures: dict[str, Any]) -> bool:
        """Whether these are of this case."""
        return self.described().items() <= figures.items()


def _take(cases: list[Case], workers: int, found: list[dict[str, Any]], file: Path | None) -> None:
    """Measures each in a fresh process, `workers` at a time; what is found replaces what was found of the same case."""
    with ThreadPoolExecutor(workers) as pool:
        for case, figures in zip(cases, pool.map(_in_a_process, cases), strict=True):
            print(json.dumps(figures), flush=True)
            found[:] = [*(one for one in found if not case.is_of(one)), figures]
            if file:
                file.write_text(json.dumps(found))


def _in_a_process(case: Case) -> dict[str, Any]:
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, case))
    process.start()
    sender.close()
    try:
        return dict(receiver.recv())
    except EOFError:
        return {**case.described(), "error": "its process died"}
    finally:
        process.join()


def _measure(sender: Any, case: Case) -> None:
    from tuneoff.core.errors import UserError

    try:
        sender.send({**case.described(), **_figures(*case)})
    except (UserError, RuntimeError) as error:
        sender.send({**case.described(), "error": str(error).strip().splitlines()[0]})


def _figures(shape: Path, method: str, sequences: int, tokens: int, checkpointing: bool) -> dict[str, Any]:
    import torch
    from accelerate.commands.estimate import estimate_training_usage  # type: ignore[import-untyped]

    from tuneoff.data.tokens import Tokens
    from tuneoff.models.load import load_classifier, load_config
    from tuneoff.models.quantised import quantisation_of
    from tuneoff.runs.memory_forecast import ArmForecast, BatchShape
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.arms import METHODS as ALL
    from tuneoff.training.engines.choose import make_engine

    arm = ALL.named(method).model_validate({"method": method, "learning_rate": 1e-4})
    training = TrainingSpec(batch_size=sequences, gradient_checkpointing=checkpointing)
    config = load_config(shape, 2, 1)
    foretold = ArmForecast(arm, config, training).parts(BatchShape(sequences * tokens, sequences, tokens))

    cuda = torch.device("cuda")
    quantisation = quantisation_of(arm.quantization, torch.bfloat16)
    loaded = load_classifier(shape, load_config(shape, 2, 1), 0, cuda, quantisation)
    adapted = arm.adapt(loaded)
    torch.cuda.synchronize()
    engine = make_engine(adapted, loaded, training, cuda, torch.bfloat16, arm=arm)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    count = 4 * sequences
    texts = Tokens(
        np.random.default_rng(0).integers(5, 1000, count * tokens).astype(np.int32),
        np.arange(count + 1, dtype=np.int64) * tokens,
        np.arange(count, dtype=np.int64) % 2,
    )
    batches = [np.arange(start, start + sequences) for start in range(0, count, sequences)]
    engine.prepare(texts, batches)
    list(engine.steps(texts, [(rows, 1e-4) for rows in batches]))
    torch.cuda.synchronize()
    measured = torch.cuda.max_memory_allocated()
    free, total = torch.cuda.mem_get_info()
    estimated = estimate_training_usage(4 * loaded.parameters, mixed_precision="bfloat16")
    return {
        "measured": measured,
        "foretold": foretold.allocated,
        "off": foretold.allocated / measured - 1,
        "weights_and_optimiser": [held, foretold.weights + foretold.optimiser],
        "reserved": torch.cuda.max_memory_reserved(),
        "of_device": total - free,
        "engine": engine.describe()["batches"],
        "step": engine.describe()["step"],
        "accelerate": max(estimated.values()),
    }


def _say_how_far_off(found: list[dict[str, Any]]) -> None:
    if not found:
        return
    off = np.array([one["off"] for one in found])
    theirs = np.array([one["accelerate"] / one["measured"] - 1 for one in found])
    print(f"{len(found)} measured; foretold is off by {100 * np.median(abs(off)):.1f}% at the median")
    within = 100 * np.mean(abs(off) <= 0.1)
    print(f"within 10% in {within:.0f}% of cases; from {100 * off.min():+.1f} to {100 * off.max():+.1f}%")
    print(f"under by more than 3%: {int(np.sum(off < -0.03))}")
    print(f"accelerate estimate-memory: off by {100 * np.median(abs(theirs)):.0f}% at the median")


if __name__ == "__main__":
    main()
