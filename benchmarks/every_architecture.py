"""Tuneoff's engine against `transformers.Trainer` on every architecture: one size, random weights, the same texts.

    python benchmarks/every_architecture.py --json architectures.json
    python benchmarks/every_architecture.py --only gpt2 t5 --arms lora --trainer grouped
    CUDA_VISIBLE_DEVICES=1 python benchmarks/every_architecture.py --shard 1/2    every second one, on the second GPU
    python benchmarks/every_architecture.py --tiny --only bert t5                 does it run? on a CPU, in seconds

Each architecture has a process of its own, in which the engines take turns: nothing else is loaded, and what one has
allocated is given back before the next. What fails is a line with its error, and the rest goes on.
benchmarks/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import copy
import gc
import itertools
import multiprocessing
import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from architecture_sizes import BASE, BEGIN, END, FIRST_WORD, TINY, Size, configurations
from one_engine import GROUPED, Job, train, with_settings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import torch
    from numpy.typing import NDArray

    from tuneoff.data.tokens import Tokens
    from tuneoff.spec.arms import ArmSpec

ELSEWHERE = ("bert", "roberta", "modernbert", "modernbert mean", "deberta-v2", "qwen3", "llama")
"""Measured by `vs_trainer.py` in published shapes; only where they are asked for."""
TRAINERS = ("default", "grouped", "compiled", "grouped-compiled")
"""Settings of `Trainer`, as `vs_trainer.py` calls them."""
SPEED, MEMORY = 1.3, 0.7
"""What is to be reached: so many times `Trainer`'s examples a second, and at most so much of its memory."""
PLANNED = 192
"""Batches of the run whose beginning is measured: an epoch of 3,072 texts. Tuneoff makes a graph for each 48."""
PATIENCE = 150.0
"""Seconds that one measurement may take."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What the process of one architecture measures.

    Attributes:
        kind: the architecture, by its name in docs/compatibility.md.
        size: of its model.
        lengths: tokens of each text, whole batches of them.
        pairs: arms, each in each of the engines.
        batch_size: texts a step.
        steps: of a measurement.
        warm_up: steps of these that are not timed.
        deadline: after which nothing is begun, by `time.monotonic`.
    """

    kind: str
    size: Size
    lengths: NDArray[np.int64]
    pairs: tuple[tuple[str, str], ...]
    batch_size: int
    steps: int
    warm_up: int
    deadline: float


def main() -> None:
    """Measures every architecture that is asked for, prints a line each, and the table."""
    parser, arguments = _arguments()
    size = TINY if arguments.tiny else BASE
    known = configurations(size)
    kinds = arguments.only or [kind for kind in known if kind not in ELSEWHERE]
    if unknown := sorted(set(kinds) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    part, parts = map(int, arguments.shard.split("/"))
    batch_size = 4 if arguments.tiny else 16
    lengths = (
        lengths_of(arguments.reviews, arguments.tokenizer, size.longest)
        if arguments.reviews
        else drawn_lengths(batch_size * (arguments.steps if arguments.tiny else PLANNED), size.longest)
    )
    # Trainer first: what is left behind in the process counts against Tuneoff.
    engines = ["trainer" if name == "default" else f"trainer-{name}" for name in arguments.trainer] + ["tuneoff"]
    pairs = tuple((arm, engine) for arm in arguments.arms for engine in engines)
    deadline = time.monotonic() + arguments.seconds
    whole = len(lengths) // batch_size * batch_size
    rest = batch_size, arguments.steps, max(1, arguments.steps // 3), deadline
    works = [Work(kind, size, lengths[:whole], pairs, *rest) for kind in kinds[part::parts]]
    rows = measure_all(works, arguments.workers, arguments.json)
    print(table(rows))
    print("\n".join(conclusions(rows)))


def _arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="architectures; those not measured elsewhere if not")
    parser.add_argument("--arms", nargs="+", default=["full", "lora"], metavar="METHOD", help="with default options")
    parser.add_argument("--trainer", nargs="+", choices=TRAINERS, default=["default", "grouped"], help="its settings")
    parser.add_argument("--steps", type=int, default=24, help="of a measurement; the first third is not timed")
    parser.add_argument("--seconds", type=float, default=540.0, help="nothing is begun after this time")
    parser.add_argument("--shard", default="0/1", metavar="I/N", help="every Nth architecture from the Ith on, from 0")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side, which disturb each other")
    parser.add_argument("--reviews", type=Path, metavar="FILE", help="parquet with a column `text`: lengths are theirs")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="what counts the tokens of --reviews")
    parser.add_argument("--tiny", action="store_true", help="models and texts that a CPU trains in a second")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, after each architecture")
    arguments = parser.parse_args()
    if (arguments.reviews is None) != (arguments.tokenizer is None):
        parser.error("--reviews and --tokenizer go together")
    if arguments.steps < 2:
        parser.error("--steps: at least 2")
    return parser, arguments


def drawn_lengths(count: int, longest: int) -> NDArray[np.int64]:
    """Tokens of texts as IMDb's reviews have them: cut at 512, 260 on average, every tenth one cut."""
    drawn = np.random.default_rng(0).lognormal(np.log(longest) - 0.79, 0.6, count)
    return drawn.clip(longest // 25 + 2, longest).astype(np.int64)


def lengths_of(reviews: Path, tokenizer: Path, longest: int) -> NDArray[np.int64]:
    """Tokens of real reviews, cut."""
    import pandas as pd
    from transformers import AutoTokenizer

    texts = pd.read_parquet(reviews, columns=["text"])["text"].tolist()
    ids = AutoTokenizer.from_pretrained(tokenizer)(texts, truncation=True, max_length=longest)["input_ids"]
    return np.array([len(text) for text in ids], dtype=np.int64)


def measure_all(works: list[Work], workers: int, file: Path | None) -> list[Row]:
    """A row for each architecture, arm and engine; they are printed and written to a file as they come."""
    from tuneoff.core.files import write_json
    from tuneoff.measure.environment import environment

    # None of it touches a device. Of what transformers imports for Trainer nothing is PyTorch's.
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tuneoff.runs.preload", "transformers.trainer"])
    rows: list[Row] = []
    began = time.monotonic()
    trained_on = works[0].lengths[: works[0].steps * works[0].batch_size]
    print(
        f"{len(works)} architectures; {works[0].batch_size} texts a step of {trained_on.mean():.0f} tokens on average, "
        f"{np.mean(trained_on == works[0].size.longest):.0%} of them cut at {works[0].size.longest}; "
        f"{works[0].steps} steps, of which {works[0].warm_up} are not timed",
        flush=True,
    )
    with ThreadPoolExecutor(workers) as pool:
        for future in as_completed([pool.submit(_in_a_process, work) for work in works]):
            found = future.result()
            rows += found
            print(f"{time.monotonic() - began:4.0f} s  {line(found)}", flush=True)
            if file:
                said = {
                    "environment": environment().model_dump(mode="json"),
                    "date": time.strftime("%Y-%m-%d"),
                    "steps": works[0].steps,
                    "warm_up": works[0].warm_up,
                    "batch_size": works[0].batch_size,
                    "mean_length": float(trained_on.mean()),
                    "summary": summarised(rows),
                    "measured": rows,
                }
                write_json(file, said)
    return rows


def _in_a_process(work: Work) -> list[Row]:
    """All rows of an architecture, also where its process ends early."""
    found: list[Row] = []
    why = "left out for time"
    if time.monotonic() < work.deadline:
        context = multiprocessing.get_context("forkserver")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_measure_here, args=(sender, work))
        process.start()
        sender.close()
        late = False
        try:
            while not (late := not receiver.poll(PATIENCE)):
                found.append(receiver.recv())
            process.kill()
        except EOFError:  # it has sent all that it will
            pass
        process.join()
        if late:
            why = f"not done after {PATIENCE:.0f} s"
        elif process.exitcode:
            why = f"its process died (exit code {process.exitcode})"
    there = {(row["arm"], row["engine"]) for row in found}
    missing = [pair for pair in work.pairs if pair not in there]
    return found + [{"architecture": work.kind, "arm": arm, "engine": engine, "error": why} for arm, engine in missing]


def _measure_here(sender: Connection, work: Work) -> None:
    """Sends a row for each arm and engine, until the time is over."""
    # Trainer would spread each batch over all GPUs that it sees.
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    warnings.simplefilter("ignore")  # of libraries, architecture by architecture
    import torch

    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.arms import METHODS
    from tuneoff.training.device import choose_device

    device = choose_device(TrainingSpec())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    template: Any = None
    for method, engine in work.pairs:
        if time.monotonic() > work.deadline:
            return
        row = {"architecture": work.kind, "arm": method, "engine": engine, "device": name}
        try:
            template = template or built(work, device)
            arm = METHODS.named(method).model_validate({"method": method, "learning_rate": 1e-5})
            row |= measured(work, copy.deepcopy(template), arm, engine, device)
        except Exception as error:  # whatever an architecture's code raises
            row["error"] = (f"{type(error).__name__}: {error}".strip().splitlines() or [""])[0]
        sender.send(row)
        gc.collect()
        if device.type == "cuda":
            torch._C._cuda_clearCublasWorkspaces()
            torch.cuda.empty_cache()


def built(work: Work, device: torch.device) -> Any:
    """A classifier with random weights, drawn on the device and kept in main memory."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(work.kind.split()[0], **configurations(work.size)[work.kind], num_labels=2)
    config.problem_type = "single_label_classification"
    torch.manual_seed(0)
    with device:
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    return model.to("cpu")


def measured(work: Work, model: Any, arm: ArmSpec, engine: str, device: torch.device) -> Row:
    """Trains a model in one engine, as a study or people who use `Trainer` would."""
    import torch

    from tuneoff.models.head import head_modules
    from tuneoff.models.hide import bitsandbytes_hidden
    from tuneoff.models.load import LoadedModel
    from tuneoff.records.saved_model import TextRules
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.data import TASKS
    from tuneoff.training.device import choose_precision
    from tuneoff.training.engines.packed import can_pack

    left_over = torch.cuda.memory_allocated(device) if device.type == "cuda" else None
    training = with_settings(TrainingSpec(batch_size=work.batch_size), engine)
    precision = choose_precision(training, device)
    loaded = LoadedModel.of(model.to(device), head_modules(model))
    torch.manual_seed(0)
    with bitsandbytes_hidden():
        adapted = arm.adapt(loaded)
    # As a study does: by length where texts are padded.
    packs = can_pack(loaded.architecture, device, precision, training)
    batches = batches_of(work, bucketed=GROUPED in engine or (engine == "tuneoff" and not packs))
    task = TASKS.named("single_label")(TextRules(label_names=("0", "1"), max_length=work.size.longest, text="text"))
    job = Job(
        adapted,
        loaded,
        training,
        device,
        precision,
        arm,
        task,
        0,
        {"train": texts(work)},
        batches,
        batches[: work.steps],
        work.warm_up,
    )
    trained = train(engine, job)
    return {
        "parameters": loaded.parameters,
        "padding": loaded.architecture.padding.name.lower().replace("_", " "),
        "precision": str(precision).removeprefix("torch."),
        "steps": work.steps,
        "examples_per_second": trained.examples_per_second,
        "tokens_per_second": trained.tokens_per_second,
        # On a CPU it would be the process's, with all that was there before.
        "peak_memory_bytes": trained.peak_memory_bytes if device.type == "cuda" else None,
        "left_over_bytes": left_over,  # by what was measured before
        "setup_seconds": trained.setup_seconds,
        "how": trained.how,
    }


def texts(work: Work) -> Tokens:
    """Texts of random words; what a step takes does not depend on which words they are."""
    from tuneoff.data.tokens import Tokens

    draw = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(work.lengths)])
    ids = draw.integers(FIRST_WORD, work.size.vocabulary, offsets[-1]).astype(np.int32)
    ids[offsets[:-1]] = BEGIN
    ids[offsets[1:] - 1] = END
    return Tokens(ids, offsets, draw.integers(0, 2, len(work.lengths)))


def batches_of(work: Work, bucketed: bool) -> list[NDArray[np.int64]]:
    """Rows of each batch of the run: of the warm-up, of the timed steps, and of those that would follow.

    Each of the three holds the same texts in either order, so that the same are timed. The batch with the longest text
    of the warm-up comes first, as in transformers' sampler by length: what memory it takes has been asked for by then.
    """
    from tuneoff.training.order import epoch_batches

    cuts = [0, work.warm_up * work.batch_size, work.steps * work.batch_size, len(work.lengths)]
    parts = [
        [start + rows for rows in epoch_batches(work.lengths[start:end], work.batch_size, 0, 0, bucketed)]
        for start, end in itertools.pairwise(cuts)
    ]
    parts[0].sort(key=lambda rows: -int(work.lengths[rows].max()))
    return [rows for part in parts for rows in part]


def summarised(rows: list[Row]) -> list[Row]:
    """A row for each architecture and arm: Tuneoff beside the fastest setting of `Trainer`."""
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row["architecture"], row["arm"]), {})[row["engine"]] = row
    found = []
    for (kind, arm), engines in groups.items():
        errors = {engine: row["error"] for engine, row in engines.items() if "error" in row}
        there = {engine: row for engine, row in engines.items() if "error" not in row}
        ours = there.pop("tuneoff", None)
        theirs = max(there.values(), key=lambda row: row["examples_per_second"], default=None)
        summary: Row = {"architecture": kind, "arm": arm, "errors": errors}
        if ours is not None:
            batches = ours["how"]["batches"]
            apart = batches == "padded" and ours["padding"] != "right"
            summary["batches"] = f"{batches}, {ours['padding']}" if apart else batches
            summary["tuneoff"] = {key: ours[key] for key in ("examples_per_second", "peak_memory_bytes")}
        if theirs is not None:
            summary["trainer"] = {key: theirs[key] for key in ("engine", "examples_per_second", "peak_memory_bytes")}
        if ours is not None and theirs is not None:
            summary["speed"] = ours["examples_per_second"] / theirs["examples_per_second"]
            if ours["peak_memory_bytes"] is not None:
                summary["memory"] = ours["peak_memory_bytes"] / theirs["peak_memory_bytes"]
        found.append(summary)
    return found


def line(rows: list[Row]) -> str:
    """What was found of one architecture."""
    said = []
    for row in summarised(rows):
        what = f"{row['arm']} {row.get('batches', '')}".strip()
        if "speed" in row:
            speeds = [row[side]["examples_per_second"] for side in ("tuneoff", "trainer")]
            what += f" {speeds[0]:,.0f} / {speeds[1]:,.0f} examples/s = {row['speed']:.2f}"
        if "memory" in row:
            what += f", memory {row['memory']:.2f}"
        said.append("; ".join([what, *(f"{engine} failed: {error}" for engine, error in row["errors"].items())]))
    return f"{rows[0]['architecture']}: " + " | ".join(said)


def table(rows: list[Row]) -> str:
    """Markdown: a row for each architecture and arm."""
    head = ["architecture", "arm", "batches", "Tuneoff, examples/s", "`Trainer`", "speed"]
    head += ["Tuneoff, peak MB", "`Trainer`", "memory"]
    lines = [head, ["---"] * 3 + ["---:"] * 6]
    for row in summarised(rows):
        ours, theirs = row.get("tuneoff", {}), row.get("trainer", {})
        setting = theirs.get("engine", "").removeprefix("trainer").removeprefix("-")
        lines.append(
            [
                row["architecture"],
                row["arm"],
                row.get("batches", ""),
                _number(ours.get("examples_per_second")),
                f"{_number(theirs.get('examples_per_second'))} {setting}".strip(),
                f"{row['speed']:.2f}" if "speed" in row else "",
                _number(ours.get("peak_memory_bytes"), 1e6),
                _number(theirs.get("peak_memory_bytes"), 1e6),
                f"{row['memory']:.2f}" if "memory" in row else "",
            ]
        )
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _number(value: float | None, unit: float = 1.0) -> str:
    return "" if value is None else f"{value / unit:,.0f}"


def conclusions(rows: list[Row]) -> list[str]:
    """How many reach what is to be reached, which do not, and what was not measured."""
    summary = summarised(rows)
    said = []
    for key, limit, what in (("speed", SPEED, "at least"), ("memory", MEMORY, "at most")):
        there = [row for row in summary if key in row]
        missed = [row for row in there if (row[key] < limit if what == "at least" else row[key] > limit)]
        if there:
            names = ", ".join(f"{row['architecture']} {row['arm']} {row[key]:.2f}" for row in missed)
            reached = f"{key} {what} {limit} times `Trainer`'s: {len(there) - len(missed)} of {len(there)}"
            said.append(f"{reached}; not {names}" if missed else reached)
    return said + [
        f"{row['architecture']} {row['arm']}, {engine}: {error}"
        for row in summary
        for engine, error in row["errors"].items()
    ]


if __name__ == "__main__":
    main()
