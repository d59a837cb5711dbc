"""What a study costs a run beside preparation, training and evaluation, and what starting a run's process costs.

    python benchmarks/study_overhead.py                           60 small runs on this machine
    python benchmarks/study_overhead.py --runs 12 --device cpu    fewer of them

The model is a two-layer BERT with random weights, the data made up; runs take their turns, one at a time.
benchmarks/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from tuneoff.records.run import TrainedRun

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from tuneoff.records.run import RunResult
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.run import Run
    from tuneoff.study.ahead import Ahead

ARMS = ("full", "lora", "ia3")
TARGET_SECONDS = 2.0
START_REPEATS = {"fork server": 9, "plain": 3}

SENTIMENTS = (("bad", "awful", "dull", "poor"), ("good", "great", "lovely", "superb"))
FILLERS = ("the", "film", "plot", "was", "a", "very", "scene", "and", "actor", "music", "long", "short")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

STUDY = """
name = "overhead"
seeds = {seeds}
model.id = "{folder}/model"
data = {{ source = "files", train = "{folder}/train.csv", test = "{folder}/test.csv", max_length = 32 }}
training = {{ epochs = 1, batch_size = 16, device = "{device}" }}
execution = {{ workers = 1, cores = 1 }}
arms = [{arms}]
"""


@dataclass
class Timeline:
    """Listens to a study and notes when what happened, in seconds since it was made."""

    began: float = field(default_factory=time.perf_counter)
    planned_at: float = 0.0
    started: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    results: list[TrainedRun] = field(default_factory=list)
    ended: float = 0.0

    def now(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self.began

    def say(self, message: str) -> None:
        print(message, flush=True)

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        self.planned_at = self.now()
        self.say(f"{runs - done} runs, {steps} steps")

    def run_started(self, run: Run) -> None:
        self.started.append(self.now())

    def progressed(self, run: Run, progress: RunProgress) -> None: ...

    def run_finished(self, run: Run, result: RunResult) -> None:
        self.finished.append(self.now())
        assert isinstance(result, TrainedRun)
        self.results.append(result)


def main() -> None:
    """Runs the study, measures start-ups, prints the tables and writes the JSON."""
    arguments = _arguments()
    from tuneoff.core.files import write_json
    from tuneoff.measure.environment import environment

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _in_new_process("spawn", _make_parts, folder)  # so that this process imports as much as a user's, no more
        overhead = _measure_study(folder, arguments.runs, arguments.device)
    starts = _measure_starts(overhead["device"] != "cpu")
    print("\n" + _describe(overhead, starts))
    if arguments.json:
        found = {"date": time.strftime("%Y-%m-%d"), "environment": environment().model_dump(mode="json")}
        found |= {"study": overhead, "start": starts}
        write_json(arguments.json, found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help=f"a multiple of {len(ARMS)}, the number of arms")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    arguments = parser.parse_args()
    if arguments.runs < len(ARMS) or arguments.runs % len(ARMS):
        parser.error(f"--runs must be a multiple of {len(ARMS)}")
    return arguments


def _measure_study(folder: Path, runs: int, device: str) -> dict[str, Any]:
    """Runs the study; returns seconds of the whole and, as means over the runs, where the overhead went."""
    import tuneoff

    arms = ", ".join(f'{{ method = "{arm}" }}' for arm in ARMS)
    study = folder / "study.toml"
    study.write_text(STUDY.format(seeds=runs // len(ARMS), folder=folder, device=device, arms=arms), encoding="utf-8")
    spec = tuneoff.load_study(study)
    timeline = Timeline()
    from tuneoff.study.store import Store

    with _timed(Store, "write_result") as storing:
        results = tuneoff.run_study(spec, folder / "out", timeline)
    timeline.ended = timeline.now()
    assert not results.failed, results.failed[0].error
    return _split(timeline, storing)


def _split(timeline: Timeline, storing: list[float]) -> dict[str, Any]:
    results = timeline.results
    runs = len(results)
    purposes = ("train", "eval", "setup", "wall")
    total = {name: sum(getattr(result, f"{name}_seconds") for result in results) for name in purposes}
    in_runs = sum(timeline.finished) - sum(timeline.started)
    overhead = timeline.ended - timeline.planned_at - total["train"] - total["eval"]
    walls = [end - start for start, end in zip(timeline.started, timeline.finished, strict=True)]
    report = timeline.ended - timeline.finished[-1]
    conditions = results[0].conditions
    return {
        "runs": runs,
        "device": "cpu" if conditions.device_type == "cpu" else conditions.device,
        "wall_seconds": timeline.ended,
        "preparation_seconds": timeline.planned_at,
        "train_seconds": total["train"],
        "eval_seconds": total["eval"],
        "overhead_seconds_per_run": overhead / runs,
        "first_run_seconds": walls[0],
        "median_run_seconds": statistics.median(walls),
        "parts_seconds_per_run": {
            "starting and ending the process": (in_runs - total["wall"] - sum(storing)) / runs,
            "set-up: loading, adapting, graphs": total["setup"] / runs,
            "scoring and saving the weights": (total["wall"] - total["setup"] - total["train"] - total["eval"]) / runs,
            "storing the result": sum(storing) / runs,
            "between runs": (timeline.finished[-1] - timeline.planned_at - in_runs) / runs,
            "the report at the end": report / runs,
        },
    }


@contextmanager
def _timed(owner: type, method: str) -> Iterator[list[float]]:
    """Inside, notes how many seconds each call of a method takes."""
    seconds: list[float] = []
    original = getattr(owner, method)

    def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*arguments)
        finally:
            seconds.append(time.perf_counter() - start)

    with mock.patch.object(owner, method, call):
        yield seconds


def _measure_starts(on_cuda: bool) -> dict[str, Any]:
    """Median seconds from starting a process to its entry point, all that runs need imported, and to a CUDA context."""
    from tuneoff.runs.process import ForkServer

    contexts: dict[str, Any] = {"fork server": ForkServer().context, "plain": multiprocessing.get_context("spawn")}
    starts: dict[str, Any] = {}
    for kind, context in contexts.items():
        measured = []
        for _ in range(START_REPEATS[kind]):
            began = time.monotonic()
            entered, ready = _in_new_process(context, _report_times, on_cuda)
            measured.append((entered - began, ready - began))
        starts[kind] = {
            "entry_seconds": statistics.median(entered for entered, _ in measured),
            "cuda_context_seconds": statistics.median(ready for _, ready in measured) if on_cuda else None,
        }
    starts["ratio"] = starts["plain"]["entry_seconds"] / starts["fork server"]["entry_seconds"]
    return starts


def _report_times(on_cuda: bool) -> tuple[float, float]:
    """When this process had all that a run imports, and when it had a CUDA context (where one is asked for)."""
    importlib.import_module("tuneoff.runs.preload")
    entered = time.monotonic()
    if on_cuda:
        import torch

        torch.zeros((), device="cuda")
        torch.cuda.synchronize()
    return entered, time.monotonic()


def _in_new_process(context: Any, function: Any, argument: Any) -> Any:
    if isinstance(context, str):
        context = multiprocessing.get_context(context)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, argument))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _send(sender: Connection, function: Any, argument: Any) -> None:
    sender.send(function(argument))


def _make_parts(folder: Path) -> None:
    """Writes the model with its tokenizer, train.csv and test.csv."""
    import pandas as pd
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = [*SPECIAL, *SENTIMENTS[0], *SENTIMENTS[1], *FILLERS]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{word[1:-1].lower()}_token": word for word in SPECIAL}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
    wrapped.save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder / "model")

    draw = random.Random(0)
    for name, count in (("train", 100), ("test", 60)):
        rows = []
        for row in range(count):
            text = [*draw.choices(FILLERS, k=draw.randint(3, 20)), draw.choice(SENTIMENTS[row % 2]), f"{name}{row}"]
            rows.append({"text": " ".join(text), "label": row % 2})
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)


def _describe(overhead: dict[str, Any], starts: dict[str, Any]) -> str:
    runs = overhead["runs"]
    per_run = overhead["overhead_seconds_per_run"]
    lines = [
        f"{runs} runs on {overhead['device']}: {overhead['wall_seconds']:.1f} s in all",
        f"  preparation   {overhead['preparation_seconds']:8.2f} s",
        f"  training      {overhead['train_seconds']:8.2f} s",
        f"  evaluation    {overhead['eval_seconds']:8.2f} s",
        f"  the rest      {per_run * runs:8.2f} s, {per_run:.3f} s a run: "
        f"{'meets' if per_run < TARGET_SECONDS else 'MISSES'} the target of {TARGET_SECONDS:g} s",
        *(f"    {seconds:8.3f} s  {part}" for part, seconds in overhead["parts_seconds_per_run"].items()),
        f"  first run {overhead['first_run_seconds']:.2f} s, median run {overhead['median_run_seconds']:.2f} s",
        "starting a process that can run",
    ]
    for kind in START_REPEATS:
        context = starts[kind]["cuda_context_seconds"]
        with_context = "" if context is None else f", {context:.2f} s with a CUDA context"
        lines.append(f"  {kind:12}  {starts[kind]['entry_seconds']:8.3f} s{with_context}")
    lines.append(f"  plain ÷ fork server: {starts['ratio']:.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
